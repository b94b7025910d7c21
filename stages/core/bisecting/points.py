"""Tensors of a graph that can be found again in another runtime's graph of the same model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from stages.core.graphs.flatbuffer import Graph, Op

Rows = Callable[[np.ndarray], np.ndarray]


def _rows(*axes: int, kept: int = 1) -> Rows:
    """Weights to [output channels, values of each]: the axes in this order, the first `kept` of them the channels."""

    def to_rows(weights: np.ndarray) -> np.ndarray:
        moved = weights.transpose(axes)
        return moved.reshape(prod(moved.shape[:kept]), -1)

    return to_rows


MARKED: dict[str, tuple[int, tuple[Rows, ...]]] = {
    # TensorFlow: weights [height, width, in, out], depthwise [height, width, in, multiplier], [in, out].
    "Conv2D": (1, (_rows(3, 0, 1, 2),)),
    "DepthwiseConv2dNative": (1, (_rows(2, 3, 0, 1, kept=2),)),
    "Conv2DBackpropInput": (1, (_rows(2, 0, 1, 3),)),
    # TensorFlow and OpenVINO; the latter may hold it turned.
    "MatMul": (1, (_rows(1, 0), _rows(0, 1))),
    "Convolution": (1, (_rows(0, 2, 3, 1),)),
    "GroupConvolution": (1, (_rows(0, 1, 3, 4, 2, kept=2),)),
    "ConvolutionBackpropData": (1, (_rows(1, 2, 3, 0),)),
    "CONV_2D": (1, (_rows(0, 1, 2, 3),)),
    "DEPTHWISE_CONV_2D": (1, (_rows(3, 0, 1, 2),)),
    "TRANSPOSE_CONV": (1, (_rows(0, 1, 2, 3),)),
    "FULLY_CONNECTED": (1, (_rows(0, 1),)),
}
"""Layers, to the position of their weights and how these become rows."""
WIDENING = frozenset(
    {"Identity", "DEQUANTIZE", "Convert", "Subtract", "Multiply", "FakeQuantize", "Reshape", "Transpose"}
)
"""Ops between stored weights and their layer; also TensorFlow's fake-quant ops."""
CONTINUING = frozenset({
    "Identity", "BiasAdd", "Add", "AddV2", "Sub", "Mul", "FusedBatchNormV3", "Relu", "Relu6", "Clamp", "Multiply",
    "Subtract", "FakeQuantize", "ADD", "MUL", "SUB", "RELU", "RELU6", "QUANTIZE", "DEQUANTIZE",
})  # fmt: skip
"""Ops with constants that belong to the layer before them: bias, batch norm, clipping, rounding."""
CHOOSING = ("TopK", "TOPK", "NonMaxSuppression", "NON_MAX_SUPPRESSION", "ArgMax", "ARG_MAX")
"""How kinds of ops begin that choose rows by their scores."""
SEVERAL = frozenset({"FusedBatchNormV3"})
"""TensorFlow's ops that are several elsewhere: any of those may bear the name."""
FAKE_QUANT_OP = "FakeQuantWithMinMaxVars"


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """A tensor.

    Attributes:
      name: Of the layer that it belongs to, or of the op that writes it.
      index: Among the graph's tensors.
      shape: As the graph states it.
      chosen: Whether it lies behind a choice of rows: it compares only while both sides choose the same ones in order.
      marks: Of a layer: its weights as rows of length 1, one row per output channel; more than one where it cannot be
        told how they lie. Scales by channel (batch norm, quantization) leave them as they are.
    """

    name: str
    index: int
    shape: tuple[int, ...]
    chosen: bool = False
    marks: tuple[np.ndarray, ...] = ()


def list_points(graph: Graph, constants: Mapping[int, np.ndarray]) -> tuple[Point, ...]:
    """Every tensor that a layer ends in, the first output of every other op, and the outputs; in execution order.

    Args:
      graph: Of any format.
      constants: Stored values by tensor index, at least those of layers; they may be flat.
    """
    points: dict[int, Point] = {}
    chosen: set[int] = set()
    for op in graph.ops:
        if not op.outputs:
            continue
        if op.kind.startswith(CHOOSING) or not chosen.isdisjoint(op.inputs):
            chosen.update(op.outputs)
        marks = _mark(graph, constants, op) if op.kind in MARKED else ()
        index = find_end(graph, op) if marks else op.outputs[0]
        name = graph.tensors[op.outputs[0]].name
        if marks or (index not in points and op.kind not in SEVERAL):
            shape = graph.tensors[index].shape
            points[index] = Point(name=name, index=index, shape=shape, chosen=op.outputs[0] in chosen, marks=marks)
    ends = [(name, graph.tensors[index]) for name, index in graph.outputs.items()]
    return (*points.values(), *(Point(name=n, index=t.index, shape=t.shape, chosen=t.index in chosen) for n, t in ends))


def find_end(graph: Graph, op: Op) -> int:
    """The tensor in which a layer ends: behind what only adds constants to it, clips or rounds it."""
    index = op.outputs[0]
    while True:
        readers = graph.consumers.get(index, [])
        if len(readers) != 1 or index in graph.outputs.values():
            return index
        reader = readers[0]
        others = [other for other in reader.inputs if other != index and other >= 0]
        continues = reader.kind in CONTINUING or reader.kind.startswith(FAKE_QUANT_OP)
        if not continues or not all(is_stored(graph, other) for other in others):
            return index
        index = reader.outputs[0]


def is_stored(graph: Graph, index: int) -> bool:
    """Whether a tensor is a constant, or computed from constants alone."""
    if graph.tensors[index].constant:
        return True
    producer = graph.producers.get(index)
    return (
        producer is not None and bool(producer.inputs) and all(is_stored(graph, i) for i in producer.inputs if i >= 0)
    )


def _mark(graph: Graph, constants: Mapping[int, np.ndarray], op: Op) -> tuple[np.ndarray, ...]:
    position, orders = MARKED[op.kind]
    used = op.inputs[position]
    index, turns = used, list[Op]()
    while index not in constants:
        producer = graph.producers.get(index)
        if producer is None or not (producer.kind in WIDENING or producer.kind.startswith(FAKE_QUANT_OP)):
            return ()
        turns.append(producer)
        index = producer.inputs[0]
    values = np.asarray(constants[index], np.float32).reshape(graph.tensors[index].shape)
    for turn in reversed(turns):
        if turn.kind == "Transpose" and turn.inputs[1] in constants:
            values = values.transpose(np.asarray(constants[turn.inputs[1]]).reshape(-1))
        if turn.kind == "Reshape":
            values = values.reshape(graph.tensors[turn.outputs[0]].shape)
    if values.ndim not in (2, 4, 5) or min(values.shape) < 1:
        return ()
    fitting = [order for order in orders if len(orders) == 1 or values.ndim == 2]
    return tuple(_normalize_rows(order(values)) for order in fitting)


def _normalize_rows(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    normal: np.ndarray = rows / np.where(lengths > 0, lengths, 1)
    return normal
