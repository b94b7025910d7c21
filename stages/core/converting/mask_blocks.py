"""Masks that are computed only where there is a detection.

A static graph predicts masks for as many detections as it can ever give, a hundred, though a picture rarely shows more
than ten: most of the time goes into rows that the last op sets to zero. This edit of a finished file cuts the mask head
into blocks of rows. Each block is a branch (the builtin op `IF`) that runs when the block's first row holds a detection
and gives zeros otherwise. All shapes stay static, the outputs stay the same, and the cost follows the picture.

It comes last because no quantizer looks into branches.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from stages.core.converting.editing import add_constant, add_tensor, drop_unused, make_op
from stages.core.converting.flatbuffer import Graph, Op, pack_model, parse_model, read_constants, read_graph
from stages.core.errors import ArtifactError

MASKS, COUNT = "detection_masks", "num_detections"
SUPPRESSION = "NON_MAX_SUPPRESSION_V4"
ELEMENTWISE = frozenset({"ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM", "GREATER_EQUAL"})
"""Ops of two tensors; one that is stored has a row for each detection, or is broadcast to all."""
SHAPE_INPUTS = {"RESHAPE": 1, "TRANSPOSE_CONV": 0}
"""Ops that are told the shape of their output, to the place of that among their inputs."""
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
class Section:
    """The part of a graph that computes nothing but masks.

    Attributes:
      ops: Places of its ops in the main subgraph, in order.
      result: Tensor with its result, float32 [D, ...].
      num_rows: D, the most detections.
      by_row: Computed tensors with D rows that it reads; others: the other computed ones.
    """

    ops: tuple[int, ...]
    result: int
    num_rows: int
    by_row: tuple[int, ...]
    others: tuple[int, ...]


def skip_empty_masks(content: bytes, block: int) -> bytes:
    """Cuts the mask head of a finished file into blocks of rows that only run when they hold a detection.

    Args:
      content: A .tflite file; one without masks comes back as it is.
      block: Detections of one block; the last block has fewer where they do not divide evenly.

    Raises:
      ArtifactError: if the file is not a whole .tflite flatbuffer, or has a mask head that cannot be cut.
    """
    graph = read_graph(content, "the converted file")
    if MASKS not in graph.outputs:
        return content
    section = find_section(graph)
    editor = _Editor(parse_model(content, "the converted file"), graph, section, read_constants(content, "the file"))
    editor.cut(block)
    return pack_model(editor.model)


def find_section(graph: Graph) -> Section:
    """What a graph computes for its masks alone.

    Raises:
      ArtifactError: if the masks are not rows of detections that a suppression has left.
    """
    result, num_rows = graph.outputs[MASKS], graph.tensors[graph.outputs[MASKS]].shape[1]
    while graph.tensors[result].shape[0] != num_rows:
        producer = graph.producers.get(result)
        if producer is None or producer.kind != "RESHAPE":
            raise _cannot_cut(f"{MASKS} is not made of {num_rows} rows")
        result = producer.inputs[0]
    if graph.tensors[result].dtype != "float32":
        raise _cannot_cut(f"{MASKS} is made of {graph.tensors[result].dtype}, expected float32")
    places = {id(op): place for place, op in enumerate(graph.ops)}
    suppressions = [place for place, op in enumerate(graph.ops) if op.kind == SUPPRESSION]
    if not suppressions:
        raise _cannot_cut(f"there is no {SUPPRESSION}")
    members = _find_ops_only_for(graph, result)
    inside = {index for place in members for index in graph.ops[place].outputs}
    read = {tensor.index for place in members for tensor in graph.variable_inputs(graph.ops[place])} - inside
    by_row = {
        index
        for index in read
        if graph.tensors[index].shape[:1] == (num_rows,) and places[id(graph.producers[index])] > suppressions[-1]
    }
    return Section(
        ops=members,
        result=result,
        num_rows=num_rows,
        by_row=tuple(sorted(by_row)),
        others=tuple(sorted(read - by_row)),
    )


def _cannot_cut(why: str) -> ArtifactError:
    return ArtifactError(f"the mask head cannot be cut into blocks: {why}; set convert.mask_block: 0")


def _find_ops_only_for(graph: Graph, result: int) -> tuple[int, ...]:
    """Places of the ops whose outputs go nowhere but into this tensor."""
    named = {*graph.outputs.values()} - {result}
    members: set[int] = set()
    inside: set[int] = set()
    for place in reversed(range(len(graph.ops))):
        op = graph.ops[place]
        readers = [id(reader) for index in op.outputs for reader in graph.consumers.get(index, [])]
        leads_there = result in op.outputs or (readers and inside.issuperset(readers))
        if leads_there and not named.intersection(op.outputs):
            members.add(place)
            inside.add(id(op))
    return tuple(sorted(members))


@dataclass(eq=False)
class _Branch:
    """A subgraph that computes `num` rows of masks.

    Attributes:
      subgraph: Schema object. new: Tensor index of the main subgraph to that of this one.
    """

    num: int
    subgraph: Any
    new: dict[int, int] = field(default_factory=dict)


class _Editor:
    """The edit of one file; `model` holds the result after `cut`."""

    def __init__(self, model: Any, graph: Graph, section: Section, constants: dict[int, np.ndarray]) -> None:
        self.model, self._graph, self._section, self._constants = model, graph, section, constants
        self._main = model.subgraphs[0]
        self._branches: dict[int, tuple[int, int]] = {}

    def cut(self, block: int) -> None:
        """Puts the branches and their calls where the section was."""
        section, results, calls = self._section, [], []
        for start in range(0, section.num_rows, block):
            ops, result = self._call_branch(start, min(block, section.num_rows - start))
            calls += ops
            results.append(result)
        options = schema.ConcatenationOptionsT()
        calls.append(make_op(self.model, schema.BuiltinOperator.CONCATENATION, results, [section.result], options))
        readers = self._find_readers()
        old = list(self._main.operators)
        kept = [op for place, op in enumerate(old) if place not in {*section.ops, *readers}]
        # The count of detections may be an op after the masks.
        self._main.operators = [*kept, *calls, *(old[place] for place in readers)]
        drop_unused(self.model)

    def _find_readers(self) -> list[int]:
        """Places of the ops that depend on the section's result, in order."""
        known, found = {self._section.result}, []
        for place, op in enumerate(self._graph.ops):
            if known.intersection(op.inputs):
                known.update(op.outputs)
                found.append(place)
        return found

    def _call_branch(self, start: int, num: int) -> tuple[list[Any], int]:
        """Ops that give `num` rows of the result from row `start` on, and the tensor that holds them."""
        if num not in self._branches:
            self._branches[num] = self._add_compute(num), self._add_zeros(num)
        model, main, builtin = self.model, self._main, schema.BuiltinOperator
        ops, cut = [], []
        for index in self._section.by_row:
            tensor = deepcopy(main.tensors[index])
            tensor.shape = list(self._cut_shape(index, num))
            tensor.shapeSignature, tensor.name = None, f"{self._graph.tensors[index].name}_from_{start}"
            main.tensors.append(tensor)
            cut.append(len(main.tensors) - 1)
            ops.append(self._slice(index, cut[-1], start, num))
        first = add_constant(model, main, np.asarray([start], np.float32), name=f"first_of_{start}")
        present = add_tensor(main, name=f"present_from_{start}", shape=[1], dtype=schema.TensorType.BOOL)
        count = self._graph.outputs[COUNT]
        ops.append(make_op(model, builtin.GREATER, [count, first], [present], schema.GreaterOptionsT()))
        shape = self._cut_shape(self._section.result, num)
        result = add_tensor(main, name=f"masks_from_{start}", shape=shape, dtype=schema.TensorType.FLOAT32)
        options = schema.IfOptionsT()
        options.thenSubgraphIndex, options.elseSubgraphIndex = self._branches[num]
        ops.append(make_op(model, builtin.IF, [present, *cut, *self._section.others], [result], options))
        return ops, result

    def _slice(self, source: int, target: int, start: int, num: int) -> Any:
        """An op for rows start .. start + num of a tensor."""
        rank = len(self._graph.tensors[source].shape)
        bounds = [[start, *[0] * (rank - 1)], [start + num, *[0] * (rank - 1)], [1] * rank]
        constants = [
            add_constant(self.model, self._main, np.asarray(values, np.int32), name=f"{name}_{start}")
            for name, values in zip(("begin", "end", "strides"), bounds, strict=True)
        ]
        options = schema.StridedSliceOptionsT()
        # All of the axes but the first.
        options.beginMask = options.endMask = (1 << rank) - 2
        return make_op(self.model, schema.BuiltinOperator.STRIDED_SLICE, [source, *constants], [target], options)

    def _add_compute(self, num: int) -> int:
        """Index of a new subgraph with the section's ops for `num` rows."""
        branch = _Branch(num, self._add_subgraph(f"masks_of_{num}"))
        branch.subgraph.inputs = [self._take(branch, i) for i in (*self._section.by_row, *self._section.others)]
        branch.subgraph.operators = [self._copy_op(branch, place) for place in self._section.ops]
        branch.subgraph.outputs = [branch.new[self._section.result]]
        return len(self.model.subgraphs) - 1

    def _add_zeros(self, num: int) -> int:
        """Index of a new subgraph with the same inputs that gives `num` rows of zeros."""
        model, section = self.model, self._section
        branch = _Branch(num, self._add_subgraph(f"no_masks_of_{num}"))
        branch.subgraph.inputs = [self._take(branch, index) for index in (*section.by_row, *section.others)]
        branch.subgraph.outputs = [self._take(branch, section.result)]
        shape = np.asarray(self._cut_shape(section.result, num), np.int32)
        filling = [
            add_constant(model, branch.subgraph, shape, name="shape"),
            add_constant(model, branch.subgraph, np.asarray(0.0, np.float32), name="zero"),
        ]
        fill = make_op(model, schema.BuiltinOperator.FILL, filling, branch.subgraph.outputs, schema.FillOptionsT())
        branch.subgraph.operators = [fill]
        return len(model.subgraphs) - 1

    def _add_subgraph(self, name: str) -> Any:
        subgraph = schema.SubGraphT()
        subgraph.name, subgraph.tensors = name, []
        self.model.subgraphs.append(subgraph)
        return subgraph

    @cached_property
    def _rows(self) -> frozenset[int]:
        """The section's tensors that hold something for each detection.

        Raises:
          ArtifactError: if one of them is made by an op that may mix detections.
        """
        rows = set(self._section.by_row)
        for place in self._section.ops:
            op = self._graph.ops[place]
            if not rows.intersection(op.inputs):
                continue
            mixes = MIXES_ROWS.get(op.kind, lambda options: False)
            if op.kind not in ROW_BY_ROW or mixes(self._main.operators[place].builtinOptions):
                raise _cannot_cut(f"the op {op.kind} may mix detections")
            for index in op.outputs:
                shape = self._graph.tensors[index].shape
                if not shape or shape[0] % self._section.num_rows:
                    raise _cannot_cut(f"{op.kind} gives {shape}, expected multiples of {self._section.num_rows} rows")
            rows.update(op.outputs)
        if self._section.result not in rows:
            raise _cannot_cut(f"{MASKS} does not come from rows of detections")
        return frozenset(rows)

    def _cut_shape(self, index: int, num: int) -> tuple[int, ...]:
        shape = self._graph.tensors[index].shape
        return shape[0] // self._section.num_rows * num, *shape[1:]

    def _take(self, branch: _Branch, index: int) -> int:
        """A tensor of the main subgraph in a branch, cut to its rows; stored values stay shared."""
        if index not in branch.new:
            tensor = deepcopy(self._main.tensors[index])
            if index in self._rows:
                tensor.shape, tensor.shapeSignature = list(self._cut_shape(index, branch.num)), None
            branch.subgraph.tensors.append(tensor)
            branch.new[index] = len(branch.subgraph.tensors) - 1
        return branch.new[index]

    def _copy_op(self, branch: _Branch, place: int) -> Any:
        op, operator = self._graph.ops[place], deepcopy(self._main.operators[place])
        cut = self._cut_constants(op, branch.num) if self._rows.issuperset(op.outputs) else {}
        operator.inputs = [
            add_constant(self.model, branch.subgraph, cut[at], name=f"{op.kind.lower()}_{place}_{at}")
            if at in cut
            else (self._take(branch, index) if index >= 0 else index)
            for at, index in enumerate(op.inputs)
        ]
        operator.outputs = [self._take(branch, index) for index in op.outputs]
        if op.kind == "RESHAPE" and operator.builtinOptions is not None:
            # The options repeat the shape of all rows.
            operator.builtinOptions.newShape = list(self._cut_shape(op.outputs[0], branch.num))
        return operator

    def _cut_constants(self, op: Op, num: int) -> dict[int, np.ndarray]:
        """Stored inputs of an op on rows that change with the number of rows, by their place among the inputs."""
        tensors, output = self._graph.tensors, op.outputs[0]
        if op.kind in SHAPE_INPUTS:
            return {SHAPE_INPUTS[op.kind]: np.asarray(self._cut_shape(output, num), np.int32)}
        if op.kind not in ELEMENTWISE:
            return {}
        out_shape = tensors[output].shape
        by_row = {
            at: tensors[index]
            for at, index in enumerate(op.inputs)
            if tensors[index].constant
            and len(tensors[index].shape) == len(out_shape)
            and tensors[index].shape[0] == out_shape[0]
        }
        # The first rows serve every block: what is stored counts from the first row of its tensor.
        return {
            at: self._constants[tensor.index].reshape(tensor.shape)[: self._cut_shape(output, num)[0]]
            for at, tensor in by_row.items()
        }
