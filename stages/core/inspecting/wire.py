"""TensorFlow graphs read from their protocol buffer bytes, without TensorFlow: nodes, signatures, stored tensors.

Source: graph.proto, node_def.proto, attr_value.proto, tensor.proto, tensor_shape.proto, function.proto,
meta_graph.proto and saved_model.proto of TensorFlow (field numbers), and the encoding of protocol buffers.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 9: "int64", 10: "bool",
    14: "bfloat16", 17: "uint16", 19: "float16", 20: "resource", 21: "variant", 22: "uint32", 23: "uint64",
}  # fmt: skip
"""Numbers of types.proto."""

Fields = dict[int, list[int | bytes]]


class DamagedBytesError(Exception):
    """The bytes end early, or are no protocol buffer."""


@dataclass(frozen=True)
class Node:
    """One node: name, op, inputs (with `^` for control), and raw attributes by name."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, bytes]

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Attribute `shape`, if the node has it and its rank is known."""
        raw = _only(read_message(self.attributes["shape"]), 7) if "shape" in self.attributes else None
        return read_shape(raw) if isinstance(raw, bytes) else None

    @property
    def dtype(self) -> str:
        """Attribute `dtype`."""
        raw = _only(read_message(self.attributes["dtype"]), 6) if "dtype" in self.attributes else None
        return DTYPES.get(raw, "unknown") if isinstance(raw, int) else "unknown"

    @property
    def stored(self) -> tuple[str, int] | None:
        """Of a Const: type and number of its values."""
        raw = _only(read_message(self.attributes["value"]), 8) if "value" in self.attributes else None
        if self.op != "Const" or not isinstance(raw, bytes):
            return None
        tensor = read_message(raw)
        number, shape = _only(tensor, 1), _only(tensor, 2)
        count = 1
        for side in (read_shape(shape) or ()) if isinstance(shape, bytes) else ():
            count *= side
        return DTYPES.get(number, "unknown") if isinstance(number, int) else "unknown", count


@dataclass(frozen=True)
class SignatureTensor:
    """A tensor of a SavedModel's signature."""

    name: str
    tensor: str
    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class GraphBytes:
    """A graph with what its functions hold.

    Attributes:
      nodes: Of the graph itself; inner: of all functions.
      signatures: Name to (inputs, outputs); only of a SavedModel.
    """

    nodes: tuple[Node, ...]
    inner: tuple[Node, ...]
    signatures: dict[str, tuple[tuple[SignatureTensor, ...], tuple[SignatureTensor, ...]]]


def read_message(data: bytes) -> Fields:
    """Field number to its values, in order: varints as int, everything else as bytes.

    Raises:
      DamagedBytesError: if the bytes end within a field or hold an unknown wire type.
    """
    fields: Fields = defaultdict(list)
    for number, value in _walk(data):
        fields[number].append(value)
    return fields


def _walk(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position, end = 0, len(data)
    while position < end:
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == 2:
            size, position = _varint(data, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise DamagedBytesError(f"wire type {wire} at byte {position}")
        if position + size > end:
            raise DamagedBytesError(f"a field of {size} bytes at byte {position} of {end}")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise DamagedBytesError(f"the bytes end at {position}")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not byte & 0x80:
            return value, position


def read_shape(data: bytes) -> tuple[int, ...] | None:
    """A TensorShapeProto: sides, -1 where unknown; None without a rank."""
    fields = read_message(data)
    if _only(fields, 3):
        return None
    sides = [_only(read_message(dim), 1) for dim in fields[2] if isinstance(dim, bytes)]
    return tuple(-1 if side is None or not isinstance(side, int) or side >= 1 << 63 else side for side in sides)


def parse_graph(data: bytes) -> GraphBytes:
    """A GraphDef.

    Raises:
      DamagedBytesError: if the bytes are not one.
    """
    fields = read_message(data)
    nodes = tuple(_node(raw) for raw in fields[1] if isinstance(raw, bytes))
    functions = [f for lib in fields[2] if isinstance(lib, bytes) for f in read_message(lib)[1]]
    inner = [raw for f in functions if isinstance(f, bytes) for raw in read_message(f)[3]]
    return GraphBytes(nodes, tuple(_node(raw) for raw in inner if isinstance(raw, bytes)), {})


def parse_saved_model(data: bytes) -> GraphBytes:
    """The first MetaGraph of a SavedModel, with its signatures.

    Raises:
      DamagedBytesError: if the bytes are not one.
    """
    meta = read_message(_bytes(_only(read_message(data), 2)))
    graph = parse_graph(_bytes(_only(meta, 2)))
    signatures = {}
    for raw in meta[5]:
        entry = read_message(_bytes(raw))
        signature = read_message(_bytes(_only(entry, 2)))
        name = _text(_only(entry, 1))
        signatures[name] = _tensors(signature, 1), _tensors(signature, 2)
    return GraphBytes(graph.nodes, graph.inner, signatures)


def _tensors(signature: Fields, field: int) -> tuple[SignatureTensor, ...]:
    found = []
    for raw in signature[field]:
        entry = read_message(_bytes(raw))
        info = read_message(_bytes(_only(entry, 2)))
        number, shape = _only(info, 2), _only(info, 3)
        found.append(
            SignatureTensor(
                name=_text(_only(entry, 1)),
                tensor=_text(_only(info, 1)),
                dtype=DTYPES.get(number, "unknown") if isinstance(number, int) else "unknown",
                shape=read_shape(shape) if isinstance(shape, bytes) else None,
            )
        )
    return tuple(sorted(found, key=lambda tensor: tensor.name))


def _node(data: bytes) -> Node:
    fields = read_message(data)
    attributes = {}
    for raw in fields[5]:
        entry = read_message(_bytes(raw))
        attributes[_text(_only(entry, 1))] = _bytes(_only(entry, 2))
    inputs = tuple(_text(name) for name in fields[3])
    return Node(_text(_only(fields, 1)), _text(_only(fields, 2)), inputs, attributes)


def _only(fields: Fields, number: int) -> int | bytes | None:
    values = fields.get(number)
    return values[-1] if values else None


def _bytes(value: int | bytes | None) -> bytes:
    if isinstance(value, int):
        raise DamagedBytesError("a number where a message is expected")
    return value or b""


def _text(value: int | bytes | None) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        raise DamagedBytesError("a name that is no text") from None
