"""Flatbuffers of any schema, written table by table from field numbers, without generated code."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flatbuffers import Builder

SCALARS = {
    np.dtype(np.int8): "PrependInt8Slot",
    np.dtype(np.uint8): "PrependUint8Slot",
    np.dtype(np.uint32): "PrependUint32Slot",
}

Table = Mapping[int, Any]
"""Field number (from 0, in the order of the schema; a union takes two) to its value: text, a NumPy scalar, a NumPy
array, a table, or a sequence of texts or tables. A field that is left out has its default."""


def pack_tables(root: Table, identifier: bytes) -> bytes:
    """The bytes of a flatbuffer whose root is a table; `identifier` are the four bytes that mark its schema."""
    builder = Builder(1024)
    builder.Finish(_write(builder, root), identifier)
    return bytes(builder.Output())


def _write(builder: Builder, value: Any) -> int:
    """Offset of a value that is stored by reference; what a table refers to is written before it."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, np.ndarray):
        return int(builder.CreateNumpyVector(value))
    if isinstance(value, Sequence):
        offsets = [_write(builder, item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())
    offsets_by_field = {
        number: _write(builder, field) for number, field in value.items() if not isinstance(field, np.generic)
    }
    builder.StartObject(max(value) + 1 if value else 0)
    for number, field in value.items():
        if isinstance(field, np.generic):
            getattr(builder, SCALARS[field.dtype])(number, field.item(), 0)
        else:
            builder.PrependUOffsetTRelativeSlot(number, offsets_by_field[number], 0)
    return int(builder.EndObject())
