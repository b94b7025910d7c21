"""A .tflite file with all of its values inside the flatbuffer, which is what every reader of the format understands."""

from typing import Any

import numpy as np
from flatbuffers import Builder

FILE_IDENTIFIER = b"TFL3"
VALUE_ALIGNMENT = 16
"""The schema's `force_align` of stored values, which the generated Python code forgets."""


class _AligningBuilder(Builder):  # type: ignore[misc]
    """A builder that places every vector of bytes at a multiple of 16 bytes."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        return super().StartVector(elemSize, numElems, VALUE_ALIGNMENT if elemSize == 1 else alignment)


def pack_inside(model: Any) -> bytes:
    """The bytes of a file with these contents, values included. `model` is used up.

    `flatbuffer.pack_model` and the quantizer store values behind the flatbuffer. Runtimes of some years ago, and tools
    that rewrite files, do not look there.

    Args:
      model: As `flatbuffer.parse_model` gives it; below 2 GB, the limit of a flatbuffer.
    """
    total = 0
    for buffer in model.buffers:
        buffer.offset = buffer.size = 0
        if buffer.data is not None:
            buffer.data = np.frombuffer(bytes(buffer.data), np.uint8)
            total += buffer.data.size
    builder = _AligningBuilder(total + (1 << 20))
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())
