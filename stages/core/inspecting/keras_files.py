"""Findings of .keras and .h5 files: configuration and shapes of weights. Their code is data here and is never run."""

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from stages.core.base.errors import ArtifactError
from stages.core.base.file_kinds import FileKind
from stages.core.inspecting.findings import Obstacle, OpFacts, SignatureFacts, TensorFacts, WeightFacts

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
KERAS_MODULES = ("keras", "tf_keras", "tensorflow", "builtins")


def read_keras_version(path: Path, kind: FileKind) -> str:
    """Version of Keras that wrote a .keras archive or an .h5 file; empty where it does not say."""
    if kind is FileKind.KERAS:
        with zipfile.ZipFile(path) as archive:
            raw = archive.read(METADATA) if METADATA in archive.namelist() else b"{}"
        return str(_parse(raw, f"{path}: {METADATA}").get("keras_version", ""))
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return str(file.attrs.get("keras_version", ""))
    except OSError as error:
        raise ArtifactError(f"{path}: a truncated or damaged HDF5 file: {error}") from None


def inspect_keras(path: Path) -> dict[str, Any]:
    """Fields of an `Inspection` of a .keras archive.

    Raises:
      ArtifactError: if its configuration is no JSON, or it has Lambda layers.
    """
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        config = _parse(archive.read(CONFIG), f"{path}: {CONFIG}")
        about = _parse(archive.read(METADATA), f"{path}: {METADATA}") if METADATA in names else {}
        weights: tuple[WeightFacts, ...] = ()
        if WEIGHTS in names:
            with archive.open(WEIGHTS) as file:
                weights = _count_datasets(file, path)
    metadata = tuple((str(key), str(value)) for key, value in about.items())
    return {**_describe_config(config, path), "weights": weights, "metadata": metadata}


def inspect_h5(path: Path) -> dict[str, Any]:
    """Fields of an `Inspection` of an HDF5 file: a model, or weights alone.

    Raises:
      ArtifactError: if HDF5 cannot read it, its configuration is no JSON, or it has Lambda layers.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            raw = file.attrs.get("model_config")
            version = file.attrs.get("keras_version")
    except OSError as error:
        raise ArtifactError(f"{path}: a truncated or damaged HDF5 file: {error}") from None
    found = {} if raw is None else _describe_config(_parse(raw, f"{path}: model_config"), path)
    metadata = () if version is None else (("keras_version", str(version)),)
    with path.open("rb") as stream:
        weights = _count_datasets(stream, path)
    if raw is None:
        found["notes"] = ("weights alone: the code or configuration of the model is needed to convert it",)
    return {**found, "weights": weights, "metadata": metadata}


def _count_datasets(file: Any, path: Path) -> tuple[WeightFacts, ...]:
    import h5py

    sizes: dict[str, list[int]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and "optimizer" not in name.split("/")[0]:
            sizes.setdefault(str(item.dtype), []).append(int(item.size))

    try:
        with h5py.File(file, "r") as opened:
            opened.visititems(visit)
    except OSError as error:
        raise ArtifactError(f"{path}: a truncated or damaged HDF5 file: {error}") from None
    return tuple(WeightFacts(dtype=k, tensors=len(v), values=sum(v)) for k, v in sorted(sizes.items()))


def _describe_config(config: Any, path: Path) -> dict[str, Any]:
    layers = list(_walk_layers(config))
    counts = Counter(str(layer.get("class_name")) for layer in layers)
    if counts["Lambda"]:
        raise ArtifactError(
            f"{path}: {counts['Lambda']} Lambda layers: Python code stored in the file, which is not run here; save "
            "the model as a SavedModel, which has none, or run it with --trust"
        )
    own = Counter(
        str(layer["class_name"])
        for layer in layers
        if layer.get("registered_name")
        or (layer.get("module") and str(layer["module"]).partition(".")[0] not in KERAS_MODULES)
    )
    obstacles = []
    if own:
        advice = "their code is not in the file: save the model as a SavedModel where it is, or bring the code"
        what = ", ".join(f"{name} ({count})" for name, count in sorted(own.items()))
        obstacles.append(
            Obstacle(target="all", what=f"layers of its own: {what}", count=sum(own.values()), advice=advice)
        )
    inputs = [layer for layer in layers if layer.get("class_name") == "InputLayer"]
    signature = SignatureFacts(name="main", inputs=tuple(map(_input_facts, inputs)), outputs=())
    return {
        "ops": tuple(
            OpFacts(op=kind, count=count, special="custom" if kind in own else "")
            for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ),
        "signatures": (signature,),
        "obstacles": tuple(obstacles),
        "notes": ("layers are counted, not ops: the model is not built",),
    }


def _walk_layers(value: Any) -> Any:
    """Every layer of a configuration, those of nested models included."""
    if isinstance(value, dict):
        config = value.get("config")
        layers = config.get("layers") if isinstance(config, dict) else None
        for layer in layers if isinstance(layers, list) else ():
            if isinstance(layer, dict):
                yield layer
                yield from _walk_layers(layer)


def _input_facts(layer: dict[str, Any]) -> TensorFacts:
    config = layer.get("config") or {}
    shape = config.get("batch_shape") or config.get("batch_input_shape")
    name = str(config.get("name"))
    sides = tuple(-1 if side is None else int(side) for side in shape) if isinstance(shape, list) else None
    dtype = config.get("dtype")
    return TensorFacts(name=name, tensor=name, shape=sides, dtype=dtype if isinstance(dtype, str) else "float32")


def _parse(raw: Any, where: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise ArtifactError(f"{where}: not JSON: {error}") from None
