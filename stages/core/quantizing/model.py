"""A trained detector to one that is trained on under the rounding of int8, and back to plain weights on int8's grid.

Coordinates are never rounded: box decoding, suppression and region alignment have no layer here, and stay float.
"""

from typing import Any

import tensorflow as tf
import tf_keras

from stages.core.quantizing.attach import (
    freeze_norm,
    is_fused,
    quantize_input,
    quantize_output,
    quantize_weights,
    split_separable,
    walk_layers,
)
from stages.core.quantizing.chains import CUSTOM_LAYERS, Chain, graph_chains, take_over_functions
from stages.core.quantizing.configs import missing_config, quantize_config

METHOD = 1
"""Number of this way to path quantizers: part of the training key, so that another way is another training."""


def quantize_model(model: Any) -> Any:
    """Puts quantizers around every layer of a detector that int8 files round, in place.

    Variables keep their values and paths; what is new are the quantizers' ranges (zero until the first step) below the
    layers that they belong to. Batch norm is frozen: it uses its moving statistics in training too, because those are
    what the converter folds into the weights, and batches of a fine-tuning are too few to estimate others. Its scale
    and offset go on learning.

    Args:
      model: A Model Garden detector with all its variables (`RetinaNetModel`, `MaskRCNNModel`), weights loaded.

    Returns:
      The same model.

    Raises:
      TrainingError: if a layer has no quantize config.
    """
    for name, part in model.checkpoint_items.items():
        for layer in tf.nest.flatten(part):
            if layer is not None:
                _quantize_part(layer, name)
    return model


def put_weights_on_grid(model: Any) -> None:
    """Gives every rounded weight its rounded value for good: what the model computes stays the same, and its graph no
    longer rounds constants.

    Args:
      model: From `quantize_model`, trained.
    """
    for layer in walk_layers(list(model.checkpoint_items.values())):
        if getattr(layer, "weight_rounders", None):
            for variable, value in layer.rounded_weights():
                variable.assign(value)
            layer.weights_on_grid = True


def output_range(part: Any) -> tuple[float, float] | None:
    """Lowest and highest value that a functional part (backbone, decoder) gives; None unless it is quantized."""
    layers = [tensor._keras_history.layer for tensor in tf.nest.flatten(part.outputs)]
    ranges = [rounder.range for layer in layers for rounder in getattr(layer, "output_rounders", ())]
    if not ranges:
        return None
    return min(float(pair["min_var"]) for pair in ranges), max(float(pair["max_var"]) for pair in ranges)


def _quantize_part(part: Any, where: str) -> None:
    if type(part) in CUSTOM_LAYERS:
        chains = CUSTOM_LAYERS[type(part)](part)
    elif isinstance(part, tf_keras.Model):
        chains, custom = graph_chains(part)
        for layer in custom:
            if type(layer) not in CUSTOM_LAYERS:
                raise missing_config(layer, where, [kind.__name__ for kind in CUSTOM_LAYERS])
            chains += CUSTOM_LAYERS[type(layer)](layer)
        if where == "backbone":
            _quantize_pixels(part)
    else:
        raise missing_config(part, where, [kind.__name__ for kind in CUSTOM_LAYERS])
    take_over_functions(chains)
    for chain in chains:
        _quantize_chain(chain, where)


def _quantize_pixels(backbone: Any) -> None:
    """Rounds what the layers at the front of a backbone read."""
    for entry in backbone.layers:
        if isinstance(entry, tf_keras.layers.InputLayer):
            for node in entry.outbound_nodes:
                quantize_input(node.layer)


def _quantize_chain(chain: Chain, where: str) -> None:
    """Rounds weights, and the values that the runtime stores. Layers that were never built are not in use."""
    parts = [layer for layer in (chain.layer, chain.norm, chain.activation) if layer is not None]
    if not parts[0].built:
        return
    config = quantize_config(parts[0], f"{where}/{parts[0].name}")
    if isinstance(parts[0], tf_keras.layers.SeparableConv2D):
        split_separable(parts[0])
    quantize_weights(parts[0], config)
    if chain.rounds_input:
        quantize_input(parts[0])
    if chain.norm is not None:
        freeze_norm(chain.norm)
    if chain.activation is not None and len(parts) > 1 and not is_fused(chain.activation.activation):
        quantize_output(parts[-2], config.get_output_quantizers(parts[-2]))
    if chain.rounds_output:
        quantize_output(parts[-1], config.get_output_quantizers(parts[-1]), chain.function)
