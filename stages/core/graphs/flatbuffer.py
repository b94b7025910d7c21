"""A .tflite file's bytes as a small graph: tensors, ops, signature. Reading only; no runtime is asked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from stages.core.base.errors import ArtifactError, MissingResultError

LFS_MARK = b"version https://git-lfs"
FILE_MARK = b"TFL3"
DTYPES = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
OP_KINDS = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
CUSTOM, CALL = "CUSTOM", "IF"
ALIGNMENT = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Tensor:
    """One tensor.

    Attributes:
      index: Its position in the graph; for a tensor of the main subgraph also its position there.
      name: As the file has it.
      shape: Static shape.
      dtype: Lower-case name, e.g. `float32`, `int8`.
      scales, zero_points: Of its quantization; empty where it has none.
      constant: Whether its values are in the file.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    constant: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Op:
    """One op: kind (builtin name, or the custom op's own), whether it is custom, tensor indices (-1: left out)."""

    kind: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """The main subgraph of a file, with what it calls written out.

    A branch that the op IF may take stands before that op as if it always ran: its ops read the caller's tensors, and
    the op IF reads their results. A branch that is called twice stands there twice, on the same stored values.

    Attributes:
      tensors: Those of the main subgraph in file order, then those of each call; ops: in execution order.
      inputs, outputs: Of the first signature, name to tensor index.
    """

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: dict[str, int]
    outputs: dict[str, int]

    @cached_property
    def producers(self) -> dict[int, Op]:
        """Tensor index to the op that writes it."""
        return {index: op for op in self.ops for index in op.outputs}

    @cached_property
    def consumers(self) -> dict[int, list[Op]]:
        """Tensor index to the ops that read it."""
        found: dict[int, list[Op]] = {}
        for op in self.ops:
            for index in op.inputs:
                found.setdefault(index, []).append(op)
        return found

    def variable_inputs(self, op: Op) -> Iterator[Tensor]:
        """Input tensors that are computed, not stored."""
        return (self.tensors[index] for index in op.inputs if index >= 0 and not self.tensors[index].constant)


def read_model_bytes(path: Path) -> bytes:
    """The bytes of a .tflite file that can be one.

    Raises:
      MissingResultError: if there is no such file.
      ArtifactError: if it is empty, a Git LFS pointer, or does not start like a .tflite flatbuffer.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise MissingResultError(f"{path}: no such file; run `export` first") from None
    if not content:
        raise ArtifactError(f"{path}: empty file, expected a .tflite flatbuffer")
    if content.startswith(LFS_MARK):
        raise ArtifactError(f"{path}: a Git LFS pointer, expected the .tflite flatbuffer itself; run `git lfs pull`")
    check_mark(content[:8], path)
    return content


def check_mark(start: bytes, source: Path | str) -> None:
    """Raises ArtifactError unless a file's first eight bytes are those of a .tflite flatbuffer."""
    if start[4:8] != FILE_MARK:
        raise ArtifactError(
            f"{source}: not a .tflite flatbuffer: bytes 4..8 are {start[4:8]!r}, expected {FILE_MARK!r}"
        )


def parse_model(content: bytes, source: Path | str) -> Any:
    """The flatbuffer as the schema's mutable objects (`ModelT`).

    Raises:
      ArtifactError: if an offset points outside of the bytes (a truncated file), or there is no graph.
    """
    from ai_edge_litert.tools import flatbuffer_utils  # 40 MB of memory, which only a reader of the graph pays

    try:
        _check_buffers(content)
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
        broken = not model.subgraphs or not model.subgraphs[0].operators
    except Exception as error:  # The generated reader fails with whatever the stray bytes provoke.
        raise ArtifactError(
            f"{source}: truncated or damaged .tflite flatbuffer of {len(content)} bytes ({type(error).__name__})"
        ) from None
    if broken:
        raise ArtifactError(f"{source}: a .tflite flatbuffer without a graph, expected one with ops")
    return model


def pack_model(model: Any) -> bytes:
    """The bytes of a file with these contents. `model` is used up.

    Values are stored behind the flatbuffer, as the format allows, at multiples of 16 bytes: some processors cannot
    read a 32-bit value at an odd address, and packing them one by one takes minutes for a large model.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    values = {index: bytes(buffer.data) for index, buffer in enumerate(model.buffers) if buffer.data is not None}
    for index in values:
        buffer = model.buffers[index]
        # Zeros would be left out of the flatbuffer; the real numbers are known once it is packed.
        buffer.data, buffer.offset, buffer.size = None, 1, 1
    content = bytearray(flatbuffer_utils.convert_object_to_bytearray(model))
    positions = {}
    for index, value in values.items():
        content.extend(bytes(-len(content) % ALIGNMENT))
        positions[index] = len(content)
        content.extend(value)
    packed = schema.Model.GetRootAs(content, 0)
    for index, position in positions.items():
        flatbuffer_utils.update_packed_buffer(packed.Buffers(index), offset=position, size=len(values[index]))
    return bytes(content)


def read_graph(content: bytes, source: Path | str) -> Graph:
    """The graph of a .tflite file's bytes.

    Args:
      content: The bytes.
      source: What error messages call them.

    Raises:
      ArtifactError: as `parse_model`.
    """
    model = parse_model(content, source)
    tensors, ops, _ = _read_written_out(model)
    signature = model.signatureDefs[0] if model.signatureDefs else None
    return Graph(
        tensors=tuple(tensors),
        ops=tuple(ops),
        inputs=_read_names(signature.inputs) if signature else {},
        outputs=_read_names(signature.outputs) if signature else {},
    )


def read_constants(content: bytes, source: Path | str) -> dict[int, np.ndarray]:
    """The values stored for a graph's tensors, by tensor index as in `read_graph`: flat, in the tensor's type.

    A tensor of a type that NumPy does not have (int4, strings) is left out.

    Raises:
      ArtifactError: as `parse_model`.
    """
    model = parse_model(content, source)
    tensors, _, buffers = _read_written_out(model)
    return {
        tensor.index: np.frombuffer(bytes(model.buffers[buffer].data), np.dtype(tensor.dtype).newbyteorder("<"))
        for tensor, buffer in zip(tensors, buffers, strict=True)
        if tensor.constant and hasattr(np, tensor.dtype)
    }


def _check_buffers(content: bytes) -> None:
    """Values behind the flatbuffer must be whole: the generated reader would cut them short in silence."""
    packed = schema.Model.GetRootAs(content, 0)
    for index in range(packed.BuffersLength()):
        buffer = packed.Buffers(index)
        if buffer.Offset() + buffer.Size() > len(content):
            raise ValueError(f"buffer {index} ends at byte {buffer.Offset() + buffer.Size()}")


def _read_written_out(model: Any) -> tuple[list[Tensor], list[Op], list[int]]:
    """Tensors, ops, and each tensor's buffer."""
    tensors: list[Tensor] = []
    buffers: list[int] = []
    ops: list[Op] = []
    stored: dict[tuple[Any, ...], int] = {}

    def write_out(position: int, given: Mapping[int, int]) -> dict[int, int]:
        """Adds a subgraph; returns its tensors' positions in the graph. `given`: those that the caller has."""
        subgraph = model.subgraphs[position]
        new = dict(given)
        for old, tensor in enumerate(subgraph.tensors):
            if old in new:
                continue
            read = _read_tensor(model, len(tensors), tensor)
            same = (tensor.buffer, read.dtype, read.shape, read.scales, read.zero_points)
            if position and read.constant and same in stored:
                new[old] = stored[same]
                continue
            new[old] = len(tensors)
            tensors.append(read)
            buffers.append(tensor.buffer)
            if read.constant:
                stored.setdefault(same, read.index)
        for operator in subgraph.operators:
            op = _read_op(model, operator)
            inputs = tuple(new.get(index, -1) for index in op.inputs)
            if op.kind == CALL:
                branches = (operator.builtinOptions.thenSubgraphIndex, operator.builtinOptions.elseSubgraphIndex)
                inputs = (inputs[0], *(result for branch in branches for result in call(branch, inputs[1:])))
            ops.append(replace(op, inputs=inputs, outputs=tuple(new[index] for index in op.outputs)))
        return new

    def call(position: int, arguments: tuple[int, ...]) -> list[int]:
        subgraph = model.subgraphs[position]
        new = write_out(position, dict(zip(indices(subgraph.inputs), arguments, strict=True)))
        return [new[index] for index in indices(subgraph.outputs)]

    write_out(0, {})
    return tensors, ops, buffers


def _read_tensor(model: Any, index: int, tensor: Any) -> Tensor:
    quantization = tensor.quantization
    scales = quantization.scale if quantization is not None and quantization.scale is not None else ()
    zero_points = quantization.zeroPoint if len(scales) and quantization.zeroPoint is not None else ()
    data = model.buffers[tensor.buffer].data
    return Tensor(
        index=index,
        name=text(tensor.name),
        shape=tuple(int(side) for side in (tensor.shape if tensor.shape is not None else ())),
        dtype=DTYPES[tensor.type],
        scales=tuple(float(scale) for scale in scales),
        zero_points=tuple(int(point) for point in zero_points),
        constant=data is not None and len(data) > 0,
    )


def _read_op(model: Any, operator: Any) -> Op:
    code = model.operatorCodes[operator.opcodeIndex]
    # Old writers only fill the byte-sized field.
    kind = OP_KINDS[max(code.builtinCode, code.deprecatedBuiltinCode)]
    custom = kind == CUSTOM
    return Op(
        kind=text(code.customCode) if custom else kind,
        custom=custom,
        inputs=indices(operator.inputs),
        outputs=indices(operator.outputs),
    )


def _read_names(entries: Any) -> dict[str, int]:
    return {text(entry.name): int(entry.tensorIndex) for entry in entries}


def indices(values: Any) -> tuple[int, ...]:
    """Tensor indices, which the flatbuffer has as an array or not at all."""
    return tuple(int(value) for value in (values if values is not None else ()))


def text(value: Any) -> str:
    """Flatbuffer strings are bytes or str, depending on who wrote them."""
    return value.decode() if isinstance(value, bytes | np.bytes_) else str(value)
