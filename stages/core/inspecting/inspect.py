"""One model file of any format to what it holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.core.base.errors import ArtifactError
from stages.core.base.file_kinds import KIND_NAMES, FileKind, check_memory, recognize_file
from stages.core.base.hashing import hash_file
from stages.core.inspecting.files import find_edge_tpu_types, inspect_ir, inspect_tflite
from stages.core.inspecting.findings import Inspection
from stages.core.inspecting.keras_files import inspect_h5, inspect_keras
from stages.core.inspecting.obstacles import find_obstacles
from stages.core.inspecting.tensorflow_graphs import inspect_frozen_graph, inspect_saved_model
from stages.core.inspecting.trusted import inspect_by_running

INSPECTORS: dict[FileKind, Callable[[Path], dict[str, Any]]] = {
    FileKind.TFLITE: inspect_tflite,
    FileKind.OPENVINO: inspect_ir,
    FileKind.FROZEN_GRAPH: inspect_frozen_graph,
    FileKind.SAVED_MODEL: inspect_saved_model,
    FileKind.KERAS: inspect_keras,
    FileKind.H5: inspect_h5,
}
"""THE TABLE of formats that are looked into. None of these runs anything of the model."""

RUN_IF_TRUSTED = (FileKind.KERAS, FileKind.H5, FileKind.PICKLE)
"""Formats that may hold code."""


def inspect_model(path: Path, *, trust: bool = False) -> Inspection:
    """What a file or SavedModel folder holds.

    Args:
      trust: Whether code in it may be run: Keras files are then built, Lambda layers and all, and pickles opened.

    Raises:
      MissingResultError: if there is no such file.
      ArtifactError: if it is empty, an LFS pointer, damaged, larger than memory, in no format of the table; if it holds
        code and is not trusted.
    """
    kind = recognize_file(path)
    check_memory(path)
    is_run = trust and kind in RUN_IF_TRUSTED
    if kind not in INSPECTORS and not is_run:
        known = ", ".join(KIND_NAMES[known] for known in INSPECTORS)
        hint = "; --trust runs it" if kind in RUN_IF_TRUSTED else ""
        raise ArtifactError(f"{path}: {KIND_NAMES[kind]}{hint}; what can be looked into: {known}")
    found = inspect_by_running(path, kind) if is_run else INSPECTORS[kind](path)
    inspection = Inspection(
        path=str(path),
        kind=kind.value,
        size_bytes=_size(path, kind),
        sha256="" if path.is_dir() else hash_file(path),
        **{key: value for key, value in found.items() if key != "obstacles"},
    )
    custom = {row.op: row.count for row in inspection.ops if row.special in ("custom", "flex")}
    obstacles = [
        *found.get("obstacles", ()),
        *find_obstacles(FileKind.SAVED_MODEL if is_run else kind, inspection.counts, custom),
    ]
    if kind is FileKind.TFLITE:
        obstacles += find_edge_tpu_types(inspection.numbers, inspection.signatures[0].inputs)
    return Inspection(**{**vars(inspection), "obstacles": tuple(obstacles)})


def _size(path: Path, kind: FileKind) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    companions = [path.with_suffix(".bin")] if kind is FileKind.OPENVINO else []
    return sum(file.stat().st_size for file in (path, *companions) if file.is_file())
