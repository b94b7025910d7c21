"""Masks that are computed only where there is a detection.

A static graph predicts masks for as many detections as it can ever give, a hundred, though a picture rarely shows more
than ten: most of the time goes into rows that the last op sets to zero. This edit of a finished file cuts the mask head
into blocks of rows. Each block is a branch (the builtin op `IF`) that runs when the block's first row holds a detection
and gives zeros otherwise. All shapes stay static, the outputs stay the same, and the cost follows the picture.

It comes last because no quantizer looks into branches.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from stages.core.converting.editing import add_constant, add_tensor, drop_unused, make_op
from stages.core.converting.mask_section import (
    ELEMENTWISE,
    MASKS,
    SHAPE_INPUTS,
    MaskSection,
    find_row_tensors,
    find_section,
)
from stages.core.graphs.flatbuffer import Graph, Op, pack_model, parse_model, read_constants, read_graph

COUNT = "num_detections"


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

    def __init__(self, model: Any, graph: Graph, section: MaskSection, constants: dict[int, np.ndarray]) -> None:
        self.model, self._graph, self._section, self._constants = model, graph, section, constants
        self._main = model.subgraphs[0]
        self._rows = find_row_tensors(graph, section, lambda position: self._main.operators[position].builtinOptions)
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
        kept = [op for position, op in enumerate(old) if position not in {*section.ops, *readers}]
        # The count of detections may be an op after the masks.
        self._main.operators = [*kept, *calls, *(old[position] for position in readers)]
        drop_unused(self.model)

    def _find_readers(self) -> list[int]:
        """Positions of the ops that depend on the section's result, in order."""
        known, found = {self._section.result}, []
        for position, op in enumerate(self._graph.ops):
            if known.intersection(op.inputs):
                known.update(op.outputs)
                found.append(position)
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
        branch.subgraph.operators = [self._copy_op(branch, position) for position in self._section.ops]
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

    def _copy_op(self, branch: _Branch, position: int) -> Any:
        op, operator = self._graph.ops[position], deepcopy(self._main.operators[position])
        cut = self._cut_constants(op, branch.num) if self._rows.issuperset(op.outputs) else {}
        operator.inputs = [
            add_constant(self.model, branch.subgraph, cut[at], name=f"{op.kind.lower()}_{position}_{at}")
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
        """Stored inputs of an op on rows that change with the number of rows, by their index among the inputs."""
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
