"""Gradients of convolutions in bfloat16, where the processor computes them faster than in float32.

Source: Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training" (2019).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from stages.core.base.processor import CPUINFO, list_flags, parse_cpuinfo, read_cpuinfo

FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Instruction sets with which oneDNN computes such a convolution, named as in /proc/cpuinfo."""


def has_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processor has instructions for it."""
    return not FLAGS.isdisjoint(list_flags(parse_cpuinfo(read_cpuinfo(cpuinfo))))


def differentiate_in_bfloat16(model: Any) -> list[Any]:
    """Has the dense convolutions of a model round what their gradients are computed from, and these, to bfloat16.

    Products are added in float32. What a convolution itself computes stays float32, so that a model is trained on what
    its evaluations and files compute. Variables, batch norms, depthwise convolutions and all else stay float32: in
    bfloat16 those are no faster.

    Args:
      model: A Model Garden detector with all its variables; changed in place.

    Returns:
      The convolutions.
    """
    layers = [layer for layer in model.submodules if type(layer) is tf_keras.layers.Conv2D]
    for layer in layers:
        layer.convolution_op = _with_rounded_gradients(layer.convolution_op)
    return layers


def _with_rounded_gradients(convolve: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolution(inputs: Any, kernel: Any) -> Any:
        def differentiate(upstream: Any) -> list[Any]:
            read = [tf.cast(value, tf.bfloat16) for value in (inputs, kernel)]
            with tf.GradientTape() as tape:
                tape.watch(read)
                result = convolve(*read)  # in a graph, nothing reads it: it is not computed
            gradients = tape.gradient(result, read, output_gradients=tf.cast(upstream, tf.bfloat16))
            return [tf.cast(gradient, tf.float32) for gradient in gradients]

        return convolve(inputs, kernel), differentiate

    # A custom gradient would take a variable for something that it must state a gradient for by name.
    return lambda inputs, kernel: convolution(inputs, tf.convert_to_tensor(kernel))
