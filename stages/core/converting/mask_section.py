"""The part of a detector's .tflite graph that computes nothing but masks, and whether it can be cut into rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stages.core.base.errors import ArtifactError
from stages.core.graphs.flatbuffer import Graph, Op

MASKS = "detection_masks"
SUPPRESSION = "NON_MAX_SUPPRESSION_V4"
ELEMENTWISE = frozenset({"ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM", "GREATER_EQUAL"})
"""Ops of two tensors; one that is stored has a row for each detection, or is broadcast to all."""
SHAPE_INPUTS = {"RESHAPE": 1, "TRANSPOSE_CONV": 0}
"""Ops that are told the shape of their output, to the position of that among their inputs."""
ROW_BY_ROW = ELEMENTWISE | frozenset(
    {
        *SHAPE_INPUTS,
        *("CAST", "FLOOR", "RELU", "LOGISTIC", "QUANTIZE", "DEQUANTIZE"),
        *("CONV_2D", "DEPTHWISE_CONV_2D", "GATHER", "PACK", "STRIDED_SLICE"),
    }
)
"""Ops that, in a mask head, make a detection's rows of theirs from that detection's rows of others."""

MIXES_ROWS: dict[str, Callable[[Any], bool]] = {
    "PACK": lambda options: options is None or options.axis == 0,
    "GATHER": lambda options: options is not None and (options.axis != 0 or options.batchDims != 0),
    "STRIDED_SLICE": lambda options: (
        options is None or not options.beginMask & options.endMask & ~options.shrinkAxisMask & 1
    ),
}
"""Of some of them: from the options, if the file states any, whether the axis of the rows is not just kept."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskSection:
    """The part of a graph that computes nothing but masks.

    Attributes:
      ops: Positions of its ops in the main subgraph, in order.
      result: Tensor with its result, float32 [D, ...].
      num_rows: D, the most detections.
      by_row: Computed tensors with D rows that it reads; others: the other computed ones.
    """

    ops: tuple[int, ...]
    result: int
    num_rows: int
    by_row: tuple[int, ...]
    others: tuple[int, ...]


def find_section(graph: Graph) -> MaskSection:
    """What a graph computes for its masks alone.

    Raises:
      ArtifactError: if the masks are not rows of detections that a suppression has left.
    """
    result, num_rows = graph.outputs[MASKS], graph.tensors[graph.outputs[MASKS]].shape[1]
    while graph.tensors[result].shape[0] != num_rows:
        producer = graph.producers.get(result)
        if producer is None or producer.kind != "RESHAPE":
            raise cannot_cut(f"{MASKS} is not made of {num_rows} rows")
        result = producer.inputs[0]
    if graph.tensors[result].dtype != "float32":
        raise cannot_cut(f"{MASKS} is made of {graph.tensors[result].dtype}, expected float32")
    positions = {id(op): position for position, op in enumerate(graph.ops)}
    suppressions = [position for position, op in enumerate(graph.ops) if op.kind == SUPPRESSION]
    if not suppressions:
        raise cannot_cut(f"there is no {SUPPRESSION}")
    members = _find_ops_only_for(graph, result)
    inside = {index for position in members for index in graph.ops[position].outputs}
    read = {tensor.index for position in members for tensor in graph.variable_inputs(graph.ops[position])} - inside
    by_row = {
        index
        for index in read
        if graph.tensors[index].shape[:1] == (num_rows,) and positions[id(graph.producers[index])] > suppressions[-1]
    }
    return MaskSection(
        ops=members,
        result=result,
        num_rows=num_rows,
        by_row=tuple(sorted(by_row)),
        others=tuple(sorted(read - by_row)),
    )


def cannot_cut(why: str) -> ArtifactError:
    """What to raise for a mask head that has to stay in one piece."""
    return ArtifactError(f"the mask head cannot be cut into blocks: {why}; set convert.mask_block: 0")


def _find_ops_only_for(graph: Graph, result: int) -> tuple[int, ...]:
    """Positions of the ops whose outputs go nowhere but into this tensor."""
    named = {*graph.outputs.values()} - {result}
    members: set[int] = set()
    inside: set[int] = set()
    for position in reversed(range(len(graph.ops))):
        op = graph.ops[position]
        readers = [id(reader) for index in op.outputs for reader in graph.consumers.get(index, [])]
        leads_there = result in op.outputs or (readers and inside.issuperset(readers))
        if leads_there and not named.intersection(op.outputs):
            members.add(position)
            inside.add(id(op))
    return tuple(sorted(members))


def find_row_tensors(graph: Graph, section: MaskSection, options: Callable[[int], Any]) -> frozenset[int]:
    """The section's tensors that hold something for each detection.

    Args:
      graph, section: What to look at.
      options: Position of an op to its options in the file.

    Raises:
      ArtifactError: if one of them is made by an op that may mix detections.
    """
    rows, counted = set(section.by_row), set[int]()
    for position in section.ops:
        op = graph.ops[position]
        if counted.intersection(op.inputs) or _counts_rows(graph, op):
            counted.update(op.outputs)
        if not rows.intersection(op.inputs):
            continue
        if op.kind == "GATHER" and op.inputs[1] in counted and op.inputs[0] not in rows:
            # A block counts its rows from its own first one, and would find those of the first block.
            raise cannot_cut("GATHER looks up rows by their number in a tensor that holds those of all detections")
        mixes = MIXES_ROWS.get(op.kind, lambda options: False)
        if op.kind not in ROW_BY_ROW or mixes(options(position)):
            raise cannot_cut(f"the op {op.kind} may mix detections")
        for index in op.outputs:
            shape = graph.tensors[index].shape
            if not shape or shape[0] % section.num_rows:
                raise cannot_cut(f"{op.kind} gives {shape}, expected multiples of {section.num_rows} rows")
        rows.update(op.outputs)
    if section.result not in rows:
        raise cannot_cut(f"{MASKS} does not come from rows of detections")
    return frozenset(rows)


def _counts_rows(graph: Graph, op: Op) -> bool:
    """Whether it adds something stored for each row, such as the row's number."""
    shape = graph.tensors[op.outputs[0]].shape
    stored = [graph.tensors[index] for index in op.inputs if index >= 0 and graph.tensors[index].constant]
    return op.kind in ELEMENTWISE and any(
        item.shape[:1] == shape[:1] and len(item.shape) == len(shape) for item in stored
    )
