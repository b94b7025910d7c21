"""THE TABLE of quantize configs: which weights of a Keras layer are rounded, along which axes.

These are TFMOT `QuantizeConfig`s, so a layer of one's own needs just another row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_model_optimization as tfmot
import tf_keras
from official.vision.modeling.layers.nn_layers import SqueezeExcitation

from stages.core.base.errors import TrainingError
from stages.core.quantizing.quantizers import WeightQuantizer, activation_quantizer

layers = tf_keras.layers


class KernelQuantizeConfig(tfmot.quantization.keras.QuantizeConfig):  # type: ignore[misc]
    """Rounds some weights of a layer, and its result."""

    def __init__(self, channel_axes: Mapping[str, tuple[int, ...]]) -> None:
        """Sets the weights by attribute name, each with the axes that get scales of their own."""
        self.channel_axes = dict(channel_axes)

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """The variables with a quantizer each."""
        return [(getattr(layer, name), WeightQuantizer(axes)) for name, axes in self.channel_axes.items()]

    def set_quantize_weights(self, layer: Any, quantize_weights: Sequence[Any]) -> None:
        """Has the layer compute with these tensors in place of its variables.

        Past Keras's own `__setattr__`, which would take the variables out of the layer's books.
        """
        for name, value in zip(self.channel_axes, quantize_weights, strict=True):
            vars(layer)[name] = value

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """One, for the result of the layer or of what a runtime fuses into it."""
        del layer
        return [activation_quantizer()]

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """None: activations are layers of their own here."""
        del layer
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: Sequence[Any]) -> None:
        """Nothing to set."""

    def get_config(self) -> dict[str, Any]:
        """What `__init__` takes."""
        return {"channel_axes": self.channel_axes}


def quantize_config(layer: Any, where: str) -> KernelQuantizeConfig:
    """The config of one layer.

    Args:
      layer: A Keras layer of the table's exact types.
      where: Path of the layer in the model, for the message.

    Raises:
      TrainingError: if the table has no row for it.
    """
    rows: dict[type, Mapping[str, tuple[int, ...]]] = {
        layers.Conv2D: {"kernel": (3,)},
        layers.Conv2DTranspose: {"kernel": (2,)},
        layers.DepthwiseConv2D: {"depthwise_kernel": (2, 3)},
        layers.SeparableConv2D: {"depthwise_kernel": (2, 3), "pointwise_kernel": (3,)},
        layers.Dense: {"kernel": (1,)},
        layers.Add: {},
        layers.BatchNormalization: {},
        layers.Activation: {},
        SqueezeExcitation: {},
    }
    if type(layer) not in rows:
        raise missing_config(layer, where, [kind.__name__ for kind in rows])
    return KernelQuantizeConfig(rows[type(layer)])


def missing_config(layer: Any, where: str, known: Sequence[str]) -> TrainingError:
    """Says that a layer cannot be quantized, and which could."""
    return TrainingError(
        f"{where}: layer {layer.name!r} of type {type(layer).__name__} has no quantize config, so it cannot be trained "
        f"for int8 (known: {', '.join(known)}); give it a row in stages/core/quantizing, or train without qat"
    )
