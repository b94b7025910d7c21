"""Ranges that training has left in a file: read, and taken out of the graph.

TensorFlow's converter turns every simulated rounding of an activation into a QUANTIZE to uint8 and a DEQUANTIZE back.
Such a pair computes nothing that the quantizer's own ops will not, but it holds the range.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from stages.core.converting.editing import drop_unused
from stages.core.converting.ranges import MIN_RANGE, Range
from stages.core.graphs.flatbuffer import Graph, indices, pack_model, parse_model, read_graph

ROUND, BACK = "QUANTIZE", "DEQUANTIZE"
STEPS = {"uint8": (0, 255), "int8": (-128, 127)}
"""Smallest and largest stored value, by type."""
KEEPS_VALUES = frozenset({"RESHAPE", "EXPAND_DIMS", "SQUEEZE"})
"""Ops whose results are the values that they read: a range holds on both sides."""
KEEPS_RANGE = KEEPS_VALUES | {"RESIZE_NEAREST_NEIGHBOR", "MAX_POOL_2D", "PAD", "GATHER"}
"""Ops whose results are some of the values that their first input holds, or zero."""
JOINS = "CONCATENATION"


@dataclass(frozen=True, eq=False)
class Stripped:
    """A float file without roundings.

    Attributes:
      content: The .tflite file's bytes.
      ranges: Tensor name to the range that training gave it.
    """

    content: bytes
    ranges: dict[str, Range]


def strip_fake_quant(content: bytes, source: str = "the exported graph") -> Stripped:
    """Takes every pair QUANTIZE, DEQUANTIZE out of a float file; readers of the second read what the first read.

    Args:
      content: A .tflite file made without quantization from a model with simulated rounding of activations.
      source: What error messages call it.

    Raises:
      ArtifactError: if the bytes are not a whole .tflite flatbuffer.
    """
    graph = read_graph(content, source)
    pairs = find_pairs(graph)
    ranges: dict[str, Range] = {}
    for rounded, (original, _) in pairs.items():
        stored = graph.tensors[graph.producers[rounded].inputs[0]]
        low, high = ((step - stored.zero_points[0]) * stored.scales[0] for step in STEPS[stored.dtype])
        name = graph.tensors[original].name
        known = ranges.get(name, Range(low, high))
        # Two roundings of one value: the narrower has clipped it already.
        ranges[name] = Range(max(low, known.low), max(min(high, known.high), max(low, known.low) + MIN_RANGE))
    model = parse_model(content, source)
    _drop_pairs(model, pairs, graph)
    return Stripped(pack_model(model), ranges)


def find_pairs(graph: Graph) -> dict[int, tuple[int, frozenset[int]]]:
    """Tensor after each pair to (tensor before the first pair of a row, outputs of the pair's two ops)."""
    found: dict[int, tuple[int, frozenset[int]]] = {}
    for op in graph.ops:
        if op.kind != BACK:
            continue
        first = graph.producers.get(op.inputs[0])
        if first is None or first.kind != ROUND or graph.tensors[first.inputs[0]].dtype != "float32":
            continue
        before = first.inputs[0]
        if before in found:
            before = found[before][0]
        found[op.outputs[0]] = (before, frozenset((*first.outputs, *op.outputs)))
    return found


def complete_ranges(
    graph: Graph, wanted: Set[int], known: Mapping[str, Range]
) -> tuple[dict[int, Range], tuple[str, ...]]:
    """Ranges of the tensors that a recipe quantizes, from those that training gave.

    A tensor without one takes that of tensors that hold its values: those that it was reshaped, enlarged, gathered or
    joined from, or one that it is reshaped to (the converter likes to move a rounding behind a reshape).

    Args:
      graph: The stripped graph.
      wanted: Indices of the tensors.
      known: By name, from `strip_fake_quant`.

    Returns:
      Range by tensor index, and the names of the tensors for which there is none.
    """
    found = {index: _upstream(graph, index, known) or _downstream(graph, index, known) for index in sorted(wanted)}
    missing = tuple(graph.tensors[index].name for index, value in found.items() if value is None)
    return {index: value for index, value in found.items() if value is not None}, missing


def _upstream(graph: Graph, index: int, known: Mapping[str, Range]) -> Range | None:
    """Range of what a tensor's values were taken from."""
    if graph.tensors[index].name in known:
        return known[graph.tensors[index].name]
    producer = graph.producers.get(index)
    if producer is None or producer.kind not in KEEPS_RANGE | {JOINS}:
        return None
    origins = producer.inputs if producer.kind == JOINS else producer.inputs[:1]
    ranges = [_upstream(graph, origin, known) for origin in origins]
    parts = [part for part in ranges if part is not None]
    if len(parts) < len(ranges):
        return None
    return Range(min(part.low for part in parts), max(part.high for part in parts))


def _downstream(graph: Graph, index: int, known: Mapping[str, Range]) -> Range | None:
    """Range of what a tensor's values are reshaped to."""
    readers = [reader for reader in graph.consumers.get(index, []) if reader.kind in KEEPS_VALUES]
    names = [graph.tensors[reader.outputs[0]].name for reader in readers]
    return next((known[name] for name in names if name in known), None)


def _drop_pairs(model: Any, pairs: Mapping[int, tuple[int, frozenset[int]]], graph: Graph) -> None:
    """Takes the ops and the tensors between them out of the main subgraph."""
    subgraph = model.subgraphs[0]
    dropped = {index for _, outputs in pairs.values() for index in outputs}

    def rewire(tensors: Any) -> list[int]:
        return [pairs[index][0] if index in pairs else index for index in indices(tensors)]

    subgraph.operators = [
        operator
        for operator, op in zip(subgraph.operators, graph.ops, strict=True)
        if not (op.outputs and set(op.outputs) <= dropped)
    ]
    for operator in subgraph.operators:
        operator.inputs = rewire(operator.inputs)
    subgraph.outputs = rewire(subgraph.outputs)
    for signature in model.signatureDefs or ():
        for entry in signature.outputs:
            (entry.tensorIndex,) = rewire([entry.tensorIndex])
    drop_unused(model)
