"""Reading Keras weights: `.weights.h5`, `.keras`, and the older `.h5`.

The newer format has a path for every layer, like a TF2 checkpoint. The older one lists layers in their order, under
names that Keras made up; what tells layers apart is the order and the shapes, all of which must agree.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tf_keras
from tf_keras.src.saving import saving_lib
from tf_keras.src.utils import generic_utils

from stages.core.training.initializing.stored import StoredVariables, damaged_checkpoint
from stages.core.training.initializing.target import Target, list_convs_and_norms

Shape = tuple[int, ...]
Unit = list[str]
INSIDE_KERAS = "model.weights.h5"


def open_keras(path: Path) -> StoredVariables:
    """Weights of either format. `structure` is the list of layers, each a list of names, of the older one, else None.

    Raises:
      CheckpointError: if it is no such file.
    """
    try:
        file = h5py.File(io.BytesIO(_content(path)), "r")
        shapes: dict[str, Shape] = {}
        file.visititems(lambda name, item: shapes.update({name: item.shape} if isinstance(item, h5py.Dataset) else {}))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise damaged_checkpoint(path, str(error) or "not Keras weights") from None
    group = file.get("model_weights", file)
    units = None
    if "layer_names" in group.attrs:
        units = [_unit(group, _text(name)) for name in group.attrs["layer_names"]]
    return StoredVariables(path=path, shapes=shapes, read_value=lambda name: np.asarray(file[name]), structure=units)


def match_keras(stored: StoredVariables, target: Target) -> dict[str, str]:
    """Name of the stored value for each path of the target."""
    if stored.structure is None:
        return _match_object_paths(stored, target)
    units = [unit for unit in stored.structure if unit]
    found: dict[str, str] = {}
    for name, part in target.parts.items():
        found |= _match_part(units, stored.shapes, part, target) or (
            _match_chain(units, stored.shapes, part, target) if name == "backbone" else {}
        )
    return found


def _content(path: Path) -> bytes:
    if path.suffix != ".keras":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(INSIDE_KERAS)


def _unit(group: Any, layer: str) -> Unit:
    prefix = group.name.strip("/")
    names = (f"{layer}/{_text(name)}" for name in group[layer].attrs["weight_names"])
    return [f"{prefix}/{name}" if prefix else name for name in names]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _match_object_paths(stored: StoredVariables, target: Target) -> dict[str, str]:
    """By path: of a file of the whole model, or of one part."""
    best: dict[str, str] = {}
    roots = (target.model, *target.parts.values())
    for root in (root for root in roots if isinstance(root, tf_keras.layers.Layer)):
        object_paths = dict(_variable_paths(root, "", set()))
        found = {
            target.paths[key]: object_path
            for key, object_path in object_paths.items()
            if key in target.paths and object_path in stored.shapes
        }
        best = max(best, found, key=len)
    return best


def _variable_paths(item: Any, object_path: str, seen: set[int]) -> Iterator[tuple[int, str]]:
    """`id` of each variable and its path in the newer format, as Keras's own writer walks a model."""
    if id(item) in seen:
        return
    seen.add(id(item))
    own = [*getattr(item, "_trainable_weights", ()), *getattr(item, "_non_trainable_weights", ())]
    for index, variable in enumerate(own):
        yield id(variable), f"{object_path}/vars/{index}".lstrip("/")
    for name, child in saving_lib._walk_trackable(item):
        below = f"{object_path}/{name}".lstrip("/")
        if saving_lib._is_keras_trackable(child):
            yield from _variable_paths(child, below, seen)
        elif isinstance(child, list | dict | tuple | set):
            yield from _container_paths(child, below, seen)


def _container_paths(items: Any, object_path: str, seen: set[int]) -> Iterator[tuple[int, str]]:
    used: dict[str, int] = {}
    for item in items.values() if isinstance(items, dict) else items:
        if saving_lib._is_keras_trackable(item) and id(item) not in seen:
            name = generic_utils.to_snake_case(type(item).__name__)
            number = used[name] = used.get(name, -1) + 1
            yield from _variable_paths(item, f"{object_path}/{name}{f'_{number}' if number else ''}", seen)


def _match_part(units: Sequence[Unit], shapes: Mapping[str, Shape], part: Any, target: Target) -> dict[str, str]:
    """A part that is one layer of the file, or all of it; Keras writes weights that learn before those that do not."""
    if isinstance(part, list | tuple):
        return {}
    layers = [layer for layer in getattr(part, "layers", [part]) if layer.weights]
    whole = [value for layer in layers for value in _in_order(layer)]
    names = [name for unit in units for name in unit]
    for candidate, values in ((names, whole), *((unit, _in_order(part)) for unit in units)):
        if [shapes[name] for name in candidate] == [tuple(value.shape) for value in values]:
            return {target.paths[id(value)]: name for value, name in zip(values, candidate, strict=True)}
    return {}


def _match_chain(units: Sequence[Unit], shapes: Mapping[str, Shape], backbone: Any, target: Target) -> dict[str, str]:
    """A backbone of blocks against a file of single convolutions and batch norms, as `tf.keras.applications` writes it.

    Only for backbones without branches, where the order of the layers is the order of the computation.
    """
    values = [value for layer in list_convs_and_norms(backbone) for value in _in_order(layer)]
    names = [name for unit in units for name in unit][: len(values)]
    if not values or [shapes[name] for name in names] != [tuple(value.shape) for value in values]:
        return {}
    return {target.paths[id(value)]: name for value, name in zip(values, names, strict=True)}


def _in_order(layer: Any) -> list[Any]:
    """Variables as Keras writes them, whether the layer is frozen now or not."""
    layers = list(layer._flatten_layers())
    own = [getattr(item, kind) for kind in ("_trainable_weights", "_non_trainable_weights") for item in layers]
    return [variable for variables in own for variable in variables]
