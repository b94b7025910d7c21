"""The layers that cost: convolution, depthwise, transposed convolution, fully-connected. Their weights, types, MACs."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from stages.core.graphs.flatbuffer import Graph, Op, Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerKind:
    """How one kind of layer keeps its inputs and what it costs.

    Attributes:
      data, weights: Positions of activations and weights among the op's inputs.
      count_macs: (data shape, weights shape, output shape) to multiply-accumulates of one inference.
    """

    data: int
    weights: int
    count_macs: Callable[[Shape, Shape, Shape], int]


LAYER_KINDS: dict[str, LayerKind] = {
    # Weights [out, height, width, in / groups].
    "CONV_2D": LayerKind(0, 1, lambda data, weights, out: prod(out) * prod(weights[1:])),
    # Weights [1, height, width, out].
    "DEPTHWISE_CONV_2D": LayerKind(0, 1, lambda data, weights, out: prod(out) * weights[1] * weights[2]),
    # Weights [out, height, width, in]; every input value meets every weight of its channel.
    "TRANSPOSE_CONV": LayerKind(2, 1, lambda data, weights, out: prod(data) * prod(weights[:3])),
    # Weights [out, in].
    "FULLY_CONNECTED": LayerKind(0, 1, lambda data, weights, out: prod(out) * weights[1]),
    # OpenVINO: weights [out, in, height, width], [groups, out, in, height, width], [in, out, height, width].
    "Convolution": LayerKind(0, 1, lambda data, weights, out: prod(out) * prod(weights[1:])),
    "GroupConvolution": LayerKind(0, 1, lambda data, weights, out: prod(out) * prod(weights[2:])),
    "ConvolutionBackpropData": LayerKind(0, 1, lambda data, weights, out: prod(data) * prod(weights[1:])),
    "MatMul": LayerKind(0, 1, lambda data, weights, out: prod(out) * data[-1]),
}
UNPACKING = frozenset({"DEQUANTIZE", "Convert", "Subtract", "Multiply", "FakeQuantize", "Reshape", "Transpose"})
"""Ops between stored weights and their layer, by which shorter numbers are widened."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One layer of a file.

    Attributes:
      op: The op.
      data: Its activations.
      weights: The tensor in which its weights are stored, looked up through what widens them; where they are computed,
        the tensor that the layer reads.
      macs: Multiply-accumulates of one inference.
    """

    op: Op
    data: Tensor
    weights: Tensor
    macs: int

    @property
    def computes_in(self) -> str:
        """`int8`, `float32`, or `activations x weights` where the two differ."""
        types = dict.fromkeys((self.data.dtype, self.weights.dtype))
        return " x ".join(types)


def find_layers(graph: Graph) -> tuple[Layer, ...]:
    """All layers with stored weights, in execution order."""
    layers = []
    for op in graph.ops:
        kind = LAYER_KINDS.get(op.kind)
        if kind is None:
            continue
        data, used, out = graph.tensors[op.inputs[kind.data]], graph.tensors[op.inputs[kind.weights]], op.outputs[0]
        macs = kind.count_macs(data.shape, used.shape, graph.tensors[out].shape)
        layers.append(Layer(op=op, data=data, weights=_stored(graph, used) or used, macs=macs))
    return tuple(layers)


def _stored(graph: Graph, tensor: Tensor) -> Tensor | None:
    """The constant that a layer's weights come from; None where they are computed."""
    while not tensor.constant:
        producer = graph.producers.get(tensor.index)
        if producer is None or producer.kind not in UNPACKING:
            return None
        tensor = graph.tensors[producer.inputs[0]]
    return tensor
