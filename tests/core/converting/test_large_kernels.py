"""A kernel above the size from which the quantizer works in pieces."""

import numpy as np
import pytest
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor

from stages.core.converting.large_kernels import large_kernels_allowed

SHAPE = (700, 7, 7, 256)
"""33.5 MiB of float32."""


def params(kernel: np.ndarray) -> qtyping.UniformQuantParams:
    scale = (np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / 127).astype(np.float32)
    return qtyping.UniformQuantParams(
        num_bits=8, quantized_dimension=0, scale=scale, zero_point=np.zeros_like(scale, np.int64), symmetric=True
    )


def test_a_large_kernel_is_quantized_by_output_channel() -> None:
    kernel = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    original = uniform_quantize_tensor.uniform_quantize
    with pytest.raises(ValueError, match="more dimensions"):  # once it does not, large_kernels.py can go
        original(kernel, params(kernel))
    with large_kernels_allowed():
        found = uniform_quantize_tensor.uniform_quantize(kernel, params(kernel))
    assert uniform_quantize_tensor.uniform_quantize is original
    small = kernel[:40]
    np.testing.assert_array_equal(found[:40], original(small, params(small)))
    np.testing.assert_allclose(found * params(kernel).scale, kernel, atol=float(params(kernel).scale.max()) / 2 + 1e-6)
