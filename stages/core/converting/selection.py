"""Which ops of a float graph are quantized: the layers, and what is between layers. The rest computes coordinates."""

from collections.abc import Mapping, Set
from dataclasses import dataclass

from stages.core.graphs.flatbuffer import Graph, Op
from stages.core.graphs.layers import LAYER_KINDS


@dataclass(frozen=True, kw_only=True)
class Between:
    """A kind of op that may be quantized with the layers around it.

    Attributes:
      data_inputs: How many of its first inputs hold features and must come from selected ops; None: all. The others
        (indices, interpolation weights) may be computed in float.
      after: Kinds that its first input must come from; None: any.
    """

    data_inputs: int | None = None
    after: frozenset[str] | None = None


@dataclass(frozen=True, eq=False)
class Selection:
    """Ops to quantize.

    Attributes:
      layers: Convolutions and fully-connected layers.
      between: Other ops, all of whose neighbours are selected too.
    """

    layers: tuple[Op, ...]
    between: tuple[Op, ...]

    def tensors(self, graph: Graph) -> frozenset[int]:
        """Indices of all activations that need a range."""
        ops = (*self.layers, *self.between)
        read = {tensor.index for op in ops for tensor in graph.variable_inputs(op)}
        written = {index for op in ops for index in op.outputs}
        return frozenset(index for index in read | written if graph.tensors[index].dtype == "float32")


def select_ops(graph: Graph, kinds_between: Mapping[str, Between]) -> Selection:
    """Chooses by structure, not by name: an op joins only where it saves a way to float and back.

    An addition of two feature maps is between convolutions; the same op in box arithmetic has a neighbour that is
    neither a layer nor selected, so it stays float, and so does everything that computes coordinates.

    Args:
      graph: A float graph.
      kinds_between: Kinds of ops that may join.
    """
    layers = tuple(op for op in graph.ops if op.kind in LAYER_KINDS)
    between = [op for op in graph.ops if op.kind in kinds_between]
    while True:
        chosen = {id(op) for op in (*layers, *between)}
        kept = [op for op in between if _is_enclosed(graph, op, kinds_between[op.kind], chosen)]
        if len(kept) == len(between):
            return Selection(layers, tuple(kept))
        between = kept


def _is_enclosed(graph: Graph, op: Op, rule: Between, chosen: Set[int]) -> bool:
    data = [index for index in op.inputs[: rule.data_inputs] if index >= 0 and not graph.tensors[index].constant]
    sources = [graph.producers.get(index) for index in data]
    readers = [reader for index in op.outputs for reader in graph.consumers.get(index, [])]
    if not sources or not readers or not all(n is not None and id(n) in chosen for n in (*sources, *readers)):
        return False
    return rule.after is None or (sources[0] is not None and sources[0].kind in rule.after)
