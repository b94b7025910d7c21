"""Zeros counted in a .tflite file's bytes."""

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from stages.core.base.errors import ArtifactError
from stages.core.converting.sparsity import read_sparsity
from stages.core.graphs.flatbuffer import pack_model, parse_model
from tests.tflite_builder import OPTION_TABLES, Graph

TYPES: dict[str, tuple[int, Any]] = {
    "float32": (schema.TensorType.FLOAT32, np.float32),
    "float16": (schema.TensorType.FLOAT16, np.float16),
    "int8": (schema.TensorType.INT8, np.int8),
    "uint8": (schema.TensorType.UINT8, np.uint8),
}


def one_layer(
    values: list[float], *, dtype: str = "float32", zero_points: tuple[int, ...] = (), uses: int = 1
) -> bytes:
    """Fully-connected layers that share one weight tensor [len(values), 1]."""
    OPTION_TABLES.setdefault("FULLY_CONNECTED", "FullyConnectedOptions")
    graph = Graph()
    image = graph.tensor("image", (1, 1))
    weights = graph.constant("arith.constant7", np.float32(values)[:, None])
    outs = [graph.tensor(f"net/fc/Relu;net/fc/BiasAdd;net/fc/MatMul_{use}", (1, len(values))) for use in range(uses)]
    for out in outs:
        graph.op("FULLY_CONNECTED", [image, weights], [out])
    model = parse_model(graph.finish({"image": image}, {"out": outs[-1]}), "test")
    tensor = model.subgraphs[0].tensors[weights]
    tensor.type, numpy_type = TYPES[dtype]
    model.buffers[tensor.buffer].data = np.frombuffer(np.asarray(values, numpy_type).tobytes(), np.uint8)
    if zero_points:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = [0.1] * len(zero_points)
        tensor.quantization.zeroPoint = list(zero_points)
    return pack_model(model)


@pytest.mark.parametrize(
    ("dtype", "values", "zero_points", "sparsity"),
    [
        ("float32", [0.0, -0.0, 1e-30, 2.0], (), 0.5),
        ("float16", [0.0, 1.0, 2.0, 3.0], (), 0.25),
        ("int8", [0, 0, 0, 7], (0,), 0.75),
        ("int8", [0, 0, 0, 7], (0, 0, 0, 0), 0.75),
        ("uint8", [128, 0, 128, 7], (128,), 0.5),
    ],
)
def test_zero_is_what_stands_for_zero(
    dtype: str, values: list[float], zero_points: tuple[int, ...], sparsity: float
) -> None:
    (layer,) = read_sparsity(one_layer(values, dtype=dtype, zero_points=zero_points))
    assert (layer.sparsity, layer.num_weights, layer.dtype, layer.op) == (sparsity, 4, dtype, "FULLY_CONNECTED")
    assert layer.name == "net/fc/MatMul_0"


def test_shared_weights_are_one_row() -> None:
    layers = read_sparsity(one_layer([0.0, 1.0], uses=3))
    assert [layer.name for layer in layers] == ["net/fc/MatMul_0"]
    assert layers[0].sparsity == 0.5


def test_what_cannot_be_counted_is_said() -> None:
    with pytest.raises(ArtifactError, match="2 different zero points"):
        read_sparsity(one_layer([0, 1], dtype="int8", zero_points=(0, 3)))
    with pytest.raises(ArtifactError, match=r"lost\.tflite: truncated or damaged"):
        read_sparsity(one_layer([0.0, 1.0])[:-3], "lost.tflite")
