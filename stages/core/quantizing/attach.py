"""Puts quantizers around a layer in place: the model keeps its objects, its variables and their paths in checkpoints.

TFMOT's `quantize_apply` clones a functional model layer by layer into wrappers. Model Garden's detectors are not such
models (see docs/decisions/0006), so what its wrapper does around `call` is done here to the layer itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from stages.core.quantizing.configs import KernelQuantizeConfig
from stages.core.quantizing.quantizers import FakeQuant, activation_quantizer

Call = Callable[..., Any]
FUSED = ("linear", "relu", "relu6")
"""Activations that runtimes compute within the layer before: the value between the two is never stored."""


def quantize_weights(layer: Any, config: KernelQuantizeConfig) -> None:
    """Has a built layer compute with rounded weights; the config says which.

    A scale per output channel takes up the factor of a batch norm that the converter folds into the weights: rounding
    before or after the fold is the same.
    """
    pairs = config.get_weights_and_quantizers(layer)
    if not pairs:
        return
    weights = [weight for weight, _ in pairs]
    rounders = [FakeQuant(quantizer, weight.shape, f"round_{path}") for path, (weight, quantizer) in enumerate(pairs)]
    layer.weight_rounders = rounders
    layer.weights_on_grid = False

    def rounded() -> list[Any]:
        if layer.weights_on_grid:
            return weights
        return [rounder(weight) for rounder, weight in zip(rounders, weights, strict=True)]

    def change(compute: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> Any:
            config.set_quantize_weights(layer, rounded())
            try:
                return compute(*args, **kwargs)
            finally:
                config.set_quantize_weights(layer, weights)

        return call

    layer.rounded_weights = lambda: list(zip(weights, rounded(), strict=True))
    _change_call(layer, change)


def quantize_input(layer: Any) -> None:
    """Rounds what a layer reads."""
    layer.input_rounder = FakeQuant(activation_quantizer(), name="round_input")

    def change(compute: Call) -> Call:
        return lambda inputs, *args, **kwargs: compute(layer.input_rounder(inputs), *args, **kwargs)

    _change_call(layer, change)


def quantize_output(layer: Any, quantizers: Sequence[Any], function: Callable[[Any], Any] | None = None) -> None:
    """Rounds what a layer gives, after an activation function that belongs to it.

    Args:
      layer: The layer.
      quantizers: For its result, as its config has them.
      function: Activation that the caller no longer applies. One that runtimes do not fuse is rounded on both sides.
    """
    apart = function is not None and not is_fused(function)
    layer.output_rounders = [FakeQuant(quantizer, name="round_output") for quantizer in quantizers]
    layer.inner_rounder = FakeQuant(activation_quantizer(), name="round_inner") if apart else None

    def change(compute: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = compute(*args, **kwargs)
            if function is not None:
                result = function(layer.inner_rounder(result) if apart else result)
            for rounder in layer.output_rounders:
                result = rounder(result)
            return result

        return call

    _change_call(layer, change)


def freeze_norm(norm: Any) -> None:
    """Has a batch norm use its moving statistics in training too; scale and offset go on learning."""
    _change_call(norm, lambda compute: lambda inputs, **kwargs: compute(inputs, **{**kwargs, "training": False}))


def split_separable(layer: Any) -> None:
    """Rounds the value between the two halves of a separable convolution: runtimes compute them as two layers."""
    layer.middle_rounder = FakeQuant(activation_quantizer(), name="round_middle")

    def call(inputs: Any) -> Any:
        height, width = layer.strides
        padding = layer.padding.upper()
        middle = tf.nn.depthwise_conv2d(
            inputs, layer.depthwise_kernel, [1, height, width, 1], padding, dilations=layer.dilation_rate
        )
        result = tf.nn.conv2d(layer.middle_rounder(middle), layer.pointwise_kernel, 1, "VALID")
        if layer.use_bias:
            result = tf.nn.bias_add(result, layer.bias)
        return result if layer.activation is None else layer.activation(result)

    _change_call(layer, lambda compute: call)


def is_fused(function: Any) -> bool:
    """Whether runtimes compute an activation function within the layer before."""
    return getattr(function, "__name__", "") in FUSED


def _change_call(layer: Any, change: Callable[[Call], Call]) -> None:
    """Replaces what a layer computes. Keras goes on with casting, naming and checking around it."""
    layer.call = tf.autograph.experimental.do_not_convert(change(layer.call))


def walk_layers(root: Any) -> list[Any]:
    """All Keras layers below a part of a model, itself included, each once."""
    found = [layer for layer in tf.nest.flatten(root) if isinstance(layer, tf_keras.layers.Layer)]
    return list({id(layer): layer for part in found for layer in part._flatten_layers()}.values())
