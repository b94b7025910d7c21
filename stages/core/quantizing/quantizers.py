"""What rounds: TFMOT's quantizers, one for weights and one for activations, and the Keras layer that holds either.

Both give what the converted file will hold: weights symmetric in -127..127 with a scale per output channel, activations
in 256 steps of one range that contains zero. Source: Krishnamoorthi, "Quantizing deep convolutional networks for
efficient inference" (2018); API: `tfmot.quantization.keras.quantizers`.
"""

from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.quantization.keras.quantizers import AllValuesQuantizer, LastValueQuantizer

NUM_BITS = 8


class WeightQuantizer(LastValueQuantizer):  # type: ignore[misc]
    """Rounds a kernel by its present extremes. Zero is on the grid: pruned weights stay exactly zero.

    TFMOT's own quantizer knows one axis, the last, which is not where depthwise and transposed kernels have their
    output channels.
    """

    def __init__(self, channel_axes: tuple[int, ...]) -> None:
        """Sets which axes of the kernel, neighbours, get a scale for each of their indices."""
        super().__init__(num_bits=NUM_BITS, per_axis=True, symmetric=True, narrow_range=True)
        self.channel_axes = channel_axes

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Creates the range's variables: a pair per channel."""
        channels = 1
        for axis in self.channel_axes:
            channels *= int(tensor_shape[axis])
        built: dict[str, Any] = super().build(tf.TensorShape([None, channels]), name, layer)
        return built

    def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:
        """The rounded kernel: same shape, same dtype."""
        rank = len(inputs.shape)
        order = [axis for axis in range(rank) if axis not in self.channel_axes] + list(self.channel_axes)
        turned = tf.transpose(inputs, order)
        channels = weights["min_var"].shape[0]
        rounded = super().__call__(tf.reshape(turned, [-1, channels]), training, weights, **kwargs)
        return tf.transpose(tf.reshape(rounded, tf.shape(turned)), [order.index(axis) for axis in range(rank)])

    def get_config(self) -> dict[str, Any]:
        """What `__init__` takes."""
        return {"channel_axes": self.channel_axes}


def activation_quantizer() -> Any:
    """Rounds activations within the widest range seen in training.

    TFMOT's default, a moving average that starts at -6..6 and forgets a thousandth a step, needs thousands of steps to
    arrive, and averages cut off the strongest answers of the class heads.
    """
    return AllValuesQuantizer(num_bits=NUM_BITS, per_axis=False, symmetric=False, narrow_range=False)


class FakeQuant(tf_keras.layers.Layer):  # type: ignore[misc]
    """A quantizer with its range, as a Keras layer: its variables are saved, and Keras tells it whether it trains."""

    def __init__(self, quantizer: Any, shape: Any = None, name: str | None = None) -> None:
        """Creates the variables at once, so that checkpoints are complete before the first step.

        Args:
          quantizer: A TFMOT quantizer.
          shape: Of the tensor to round, for quantizers with a range per channel.
          name: Of the layer.
        """
        super().__init__(name=name)
        self.quantizer = quantizer
        self.range = quantizer.build(shape, "range", self)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The rounded tensor; in training the range follows the values first."""
        return self.quantizer(inputs, bool(training), self.range)
