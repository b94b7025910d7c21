import pytest

from stages.core.graphs.flatbuffer import Graph, Op, Tensor
from stages.core.graphs.layers import find_layers


def tensor(index: int, shape: tuple[int, ...], dtype: str = "float32", *, constant: bool = False) -> Tensor:
    return Tensor(index=index, name=f"t{index}", shape=shape, dtype=dtype, scales=(), zero_points=(), constant=constant)


def one_layer(kind: str, data: tuple[int, ...], weights: tuple[int, ...], out: tuple[int, ...]) -> Graph:
    tensors = (tensor(0, data), tensor(1, weights, constant=True), tensor(2, out), tensor(3, (4,), "int32"))
    inputs = (3, 1, 0) if kind == "TRANSPOSE_CONV" else (0, 1)
    ops = (Op(kind=kind, custom=False, inputs=inputs, outputs=(2,)),)
    return Graph(tensors=tensors, ops=ops, inputs={"image": 0}, outputs={"out": 2})


@pytest.mark.parametrize(
    ("kind", "data", "weights", "out", "macs"),
    [
        ("CONV_2D", (1, 8, 8, 3), (16, 3, 3, 3), (1, 4, 4, 16), 4 * 4 * 16 * 27),
        ("DEPTHWISE_CONV_2D", (1, 8, 8, 6), (1, 5, 5, 6), (1, 8, 8, 6), 8 * 8 * 6 * 25),
        ("TRANSPOSE_CONV", (2, 7, 7, 5), (9, 2, 2, 5), (2, 14, 14, 9), 2 * 7 * 7 * 5 * 9 * 4),
        ("FULLY_CONNECTED", (1, 20, 30), (7, 30), (1, 20, 7), 20 * 30 * 7),
    ],
)
def test_macs_by_hand(
    kind: str, data: tuple[int, ...], weights: tuple[int, ...], out: tuple[int, ...], macs: int
) -> None:
    (layer,) = find_layers(one_layer(kind, data, weights, out))
    assert layer.macs == macs
    assert layer.computes_in == "float32"


def test_weights_behind_a_dequantize_count_as_stored() -> None:
    tensors = (
        tensor(0, (1, 4)),
        tensor(1, (2, 4), "float16", constant=True),
        tensor(2, (2, 4)),
        tensor(3, (1, 2)),
    )
    ops = (
        Op(kind="DEQUANTIZE", custom=False, inputs=(1,), outputs=(2,)),
        Op(kind="FULLY_CONNECTED", custom=False, inputs=(0, 2), outputs=(3,)),
    )
    (layer,) = find_layers(Graph(tensors=tensors, ops=ops, inputs={}, outputs={}))
    assert layer.weights.dtype == "float16"
    assert layer.computes_in == "float32 x float16"
