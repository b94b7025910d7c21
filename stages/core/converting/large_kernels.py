"""Kernels of more than 32 MiB in the quantizer: the 7x7 box head of a Keras Mask R-CNN has 49."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor


@contextmanager
def large_kernels_allowed() -> Iterator[None]:
    """Within it, ai-edge-quantizer quantizes kernels of any size.

    From 32 MiB on, version 0.10 works in pieces of a matrix into which it reshapes the kernel, but not its scales, and
    fails ("input operand has more dimensions than allowed by the axis remapping"). A kernel with one scale for each
    output channel, its first axis, is handed over as a matrix already, with the same result to the bit.
    """
    original = uniform_quantize_tensor.uniform_quantize

    def quantize(tensor_data: np.ndarray, quantization_params: Any, is_blockwise_quant: bool = False) -> np.ndarray:
        scales = np.asarray(quantization_params.scale)
        by_first_axis = scales.size == len(tensor_data) and quantization_params.quantized_dimension == 0
        if tensor_data.ndim < 3 or is_blockwise_quant or not by_first_axis:
            whole: np.ndarray = original(tensor_data, quantization_params, is_blockwise_quant)
            return whole
        column = (len(tensor_data), 1)
        params = replace(
            quantization_params,
            scale=scales.reshape(column),
            zero_point=np.asarray(quantization_params.zero_point).reshape(column),
        )
        rows: np.ndarray = original(tensor_data.reshape(len(tensor_data), -1), params)
        return rows.reshape(tensor_data.shape)

    uniform_quantize_tensor.uniform_quantize = quantize
    try:
        yield
    finally:
        uniform_quantize_tensor.uniform_quantize = original
