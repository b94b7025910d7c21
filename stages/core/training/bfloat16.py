"""Convolutions that multiply in bfloat16, where the processor does that faster than float32.

Source: Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training" (2019).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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


_rounding: ContextVar[bool] = ContextVar("rounding", default=False)
"""Whether what is traced now computes in bfloat16. A strategy traces its replicas in threads, each with its own."""


@contextmanager
def rounding() -> Iterator[None]:
    """Within it, models of `convolve_in_bfloat16` are traced in bfloat16; outside of it, as they were."""
    token = _rounding.set(True)
    try:
        yield
    finally:
        _rounding.reset(token)


def convolve_in_bfloat16(model: Any) -> list[Any]:
    """Has the dense convolutions of a model round what they read, and their gradients, to bfloat16 within `rounding`.

    Products are added in float32, and a sum is rounded to bfloat16 before it goes on as float32. Variables, batch
    norms, depthwise convolutions and all else stay float32: in bfloat16 those are no faster.

    Args:
      model: A Model Garden detector with all its variables; changed in place.

    Returns:
      The convolutions.
    """
    layers = [layer for layer in model.submodules if type(layer) is tf_keras.layers.Conv2D]
    for layer in layers:
        layer.convolution_op = _in_bfloat16(layer.convolution_op)
    return layers


def _in_bfloat16(convolve: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def rounded(inputs: Any, kernel: Any) -> Any:
        if not _rounding.get():
            return convolve(inputs, kernel)
        return tf.cast(convolve(tf.cast(inputs, tf.bfloat16), tf.cast(kernel, tf.bfloat16)), tf.float32)

    return rounded
