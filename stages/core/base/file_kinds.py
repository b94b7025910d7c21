"""What a model file is, by its bytes rather than by its name. No framework is imported and nothing in it is run."""

import re
import zipfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import psutil

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.layout import SAVED_MODEL

LFS_POINTER = b"version https://git-lfs"
EDGE_TPU_OP = b"edgetpu-custom-op"
HEAD_BYTES = 1 << 20
SAVED_MODEL_FILE = "saved_model.pb"


class FileKind(StrEnum):
    """Formats that models come in."""

    SAVED_MODEL = SAVED_MODEL
    FROZEN_GRAPH = "frozen_graph"
    META_GRAPH = "meta_graph"
    TFLITE = "tflite"
    OPENVINO = "openvino"
    KERAS = "keras"
    H5 = "h5"
    ONNX = "onnx"
    CHECKPOINT = "checkpoint"
    PICKLE = "pickle"


KIND_NAMES: dict[FileKind, str] = {
    FileKind.SAVED_MODEL: "a SavedModel",
    FileKind.FROZEN_GRAPH: "a frozen graph (binary GraphDef)",
    FileKind.META_GRAPH: "a MetaGraph (.meta): a graph without weights; freeze it with its checkpoint",
    FileKind.TFLITE: "a .tflite flatbuffer",
    FileKind.OPENVINO: "an OpenVINO IR",
    FileKind.KERAS: "a .keras archive",
    FileKind.H5: "an HDF5 file (.h5)",
    FileKind.ONNX: "an ONNX model",
    FileKind.CHECKPOINT: "a TensorFlow checkpoint: weights without a graph",
    FileKind.PICKLE: "a pickle, which runs code when it is read",
}
"""What a message calls each."""


def recognize_file(path: Path) -> FileKind:
    """The format of a file or folder.

    Raises:
      MissingResultError: if there is none.
      ArtifactError: if it is empty, a Git LFS pointer, or nothing known.
    """
    if path.is_dir():
        if (path / SAVED_MODEL_FILE).is_file():
            return recognize_file(path / SAVED_MODEL_FILE)
        raise ArtifactError(f"{path}: a folder without {SAVED_MODEL_FILE}, expected a model file or a SavedModel")
    if not path.is_file():
        raise MissingResultError(f"{path}: no such file")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise ArtifactError(f"{path}: an empty file, expected a model")
    if head.startswith(LFS_POINTER):
        raise ArtifactError(f"{path}: a Git LFS pointer, expected the model itself; run `git lfs pull`")
    kind = _by_mark(path, head) or _by_fields(head)
    if kind is None:
        raise ArtifactError(
            f"{path}: no model format that is known here (starts with {head[:8]!r}); expected "
            "SavedModel, frozen .pb, .tflite, OpenVINO .xml, .keras or .h5"
        )
    return kind


def check_kind(path: Path, *expected: FileKind) -> FileKind:
    """The format of a file, if it is one of those expected and all of it is there.

    Raises:
      MissingResultError, ArtifactError: as `recognize_file`, for another format, for companions that are LFS pointers,
        and for files that memory cannot hold.
    """
    kind = recognize_file(path)
    if kind not in expected:
        raise ArtifactError(f"{path}: {KIND_NAMES[kind]}; expected {' or '.join(KIND_NAMES[k] for k in expected)}")
    check_memory(path)
    return kind


def check_memory(path: Path) -> None:
    """Raises ArtifactError if a model is larger than the memory that is free, or the file with its weights a pointer.

    One that just fits may still be too large to convert: every tool holds it at least twice.
    """
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    if path.suffix == ".xml" and path.with_suffix(".bin").is_file():
        files.append(path.with_suffix(".bin"))
    for file in files:
        with file.open("rb") as opened:
            if opened.read(len(LFS_POINTER)) == LFS_POINTER:
                raise ArtifactError(f"{file}: a Git LFS pointer, expected the model's weights; run `git lfs pull`")
    size, free = sum(file.stat().st_size for file in files), psutil.virtual_memory().available
    if size > free:
        raise ArtifactError(f"{path}: {size / 1e9:.1f} GB, larger than the memory that is free ({free / 1e9:.1f} GB)")


def _by_mark(path: Path, head: bytes) -> FileKind | None:
    if head[4:8] == b"TFL3":
        return FileKind.TFLITE
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return FileKind.H5
    if head.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = set(archive.namelist())
        except zipfile.BadZipFile:
            raise ArtifactError(f"{path}: a truncated or damaged zip archive") from None
        if "config.json" in names:
            return FileKind.KERAS
        return FileKind.PICKLE if any(name.endswith(".pkl") for name in names) else None
    if head.lstrip().startswith((b"<?xml", b"<net")) and b"<net " in head[:4096]:
        return FileKind.OPENVINO
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return FileKind.PICKLE
    if path.suffix == ".index" or re.search(r"\.data-\d{5}-of-\d{5}$", path.name) or path.suffix == ".ckpt":
        return FileKind.CHECKPOINT
    return None


def _by_fields(head: bytes) -> FileKind | None:
    """Formats that are protocol buffers without a mark, by the numbers and types of their first fields.

    Source: graph.proto, meta_graph.proto and saved_model.proto of TensorFlow, onnx.proto of ONNX.
    """
    fields = list(_read_fields(head, most=12))
    if not fields:
        return None
    number, value = fields[0]
    if number == 1 and isinstance(value, int):
        numbers = {found for found, _ in fields}
        second = next((value for found, value in fields if found == 2), b"")
        if numbers <= {1, 2} and isinstance(second, bytes) and second[:1] == b"\x0a":
            return FileKind.SAVED_MODEL
        return FileKind.ONNX if 7 in numbers else None
    if number == 1 and isinstance(value, bytes):
        parts = dict(_read_fields(value, most=2))
        op = parts.get(2)
        if isinstance(parts.get(1), bytes) and isinstance(op, bytes) and re.fullmatch(rb"[A-Za-z_>][\w>]*", op):
            return FileKind.FROZEN_GRAPH
        return FileKind.META_GRAPH if any(found == 2 and isinstance(v, bytes) for found, v in fields) else None
    return None


def _read_fields(data: bytes, *, most: int) -> Iterator[tuple[int, int | bytes]]:
    """The first fields of a protocol buffer message; ends where the bytes do, or make no sense."""
    position = 0
    for _ in range(most):
        tag, position = _read_varint(data, position)
        if tag is None:
            return
        number, wire = tag >> 3, tag & 7
        if not number or wire not in (0, 1, 2, 5):
            return
        if wire in (1, 5):
            position += 8 if wire == 1 else 4
            continue
        value, position = _read_varint(data, position)
        if value is None:
            return
        if wire == 0:
            yield number, value
        else:
            yield number, data[position : position + value]
            position += value


def _read_varint(data: bytes, position: int) -> tuple[int | None, int]:
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not byte & 0x80:
            return value, position
    return None, position
