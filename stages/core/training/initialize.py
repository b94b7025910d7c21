"""Fine-tuning: variables of a Model Garden checkpoint into a model that need not be the same.

TensorFlow's own restore refuses a checkpoint at the first shape that differs. Here the stored object graph and the
model's are walked side by side, what matches by path and shape is assigned, and what does not is listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from stages.core.base.errors import CheckpointError
from stages.core.base.plain_paths import plain_path
from stages.core.detectors.variables import list_variables

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "VARIABLE_VALUE"


@dataclass(frozen=True, kw_only=True)
class Initialization:
    """What an init checkpoint gave.

    Attributes:
      loaded: Variables that now hold the checkpoint's values, by path in the model.
      missing: Path of each variable that it has no value for, with the reason.
    """

    loaded: tuple[str, ...]
    missing: dict[str, str]


def initialize_model(model: Any, prefix: str, modules: str | Sequence[str]) -> Initialization:
    """Loads a checkpoint's values into `model`, as far as paths and shapes agree.

    Args:
      model: A Model Garden detector with all its variables.
      prefix: A TF2 object-based checkpoint that holds the detector under `model`, or its parts (`backbone`, `decoder`,
        heads) at the top, as Model Garden's trainer and its published checkpoints do.
      modules: `all`, or some of `backbone` and `decoder`.

    Raises:
      CheckpointError: if the checkpoint cannot be read or nothing of it fits.
    """
    parts = _parts(model, modules)
    try:
        with plain_path(Path(prefix).parent) as folder:
            reader = tf.train.load_checkpoint(str(folder / Path(prefix).name))
        graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(OBJECT_GRAPH))
    except Exception as error:  # the reader raises plain RuntimeError and various tf.errors for damaged files
        message = " ".join(str(error).split())
        raise CheckpointError(f"{prefix}: not a readable TF2 checkpoint ({message})") from None
    walk = _Walk(reader, graph)
    paths: dict[str, Any] = {}
    for name, part in parts.items():
        paths |= list_variables(part, name)
        for root in _stored_roots(graph, name):
            walk.match(part, root)
    if not walk.loaded:
        found = sorted(child.local_name for child in graph.nodes[0].children)
        raise CheckpointError(
            f"{prefix}: nothing in it fits {', '.join(parts)} (none of {len(paths)} variables; it holds "
            f"{', '.join(found)} at its top)"
        )
    return Initialization(
        loaded=tuple(path for path, variable in paths.items() if id(variable) in walk.loaded),
        missing={
            path: walk.refused.get(id(variable), "not in the checkpoint")
            for path, variable in paths.items()
            if id(variable) not in walk.loaded
        },
    )


def _parts(model: Any, modules: str | Sequence[str]) -> dict[str, Any]:
    """The model's parts that are to be loaded, by their name in a checkpoint."""
    items = {name: item for name, item in model.checkpoint_items.items() if item is not None}
    if modules == "all":
        return items
    return {name: items[name] for name in modules}


def _stored_roots(graph: Any, part: str) -> list[int]:
    """Node ids at which a checkpoint may hold a part: at its top, or below `model`."""
    children = {child.local_name: child.node_id for child in graph.nodes[0].children}
    groups = [children]
    if "model" in children:
        groups.append({child.local_name: child.node_id for child in graph.nodes[children["model"]].children})
    return [group[name] for group in groups for name in (part, f"_{part}") if name in group]


class _Walk:
    """Assigns stored values to variables at the same path."""

    def __init__(self, reader: Any, graph: Any) -> None:
        self._reader, self._graph = reader, graph
        self._shapes = reader.get_variable_to_shape_map()
        self._seen: set[tuple[int, int]] = set()
        self.loaded: set[int] = set()
        self.refused: dict[int, str] = {}

    def match(self, root: Any, root_id: int) -> None:
        view = tf.train.TrackableView(root)
        pending = [(root, root_id)]
        while pending:
            item, node_id = pending.pop()
            if (id(item), node_id) in self._seen:
                continue
            self._seen.add((id(item), node_id))
            if isinstance(item, tf.Variable):
                self._assign(item, node_id)
                continue
            stored = {child.local_name: child.node_id for child in self._graph.nodes[node_id].children}
            pending += [(child, stored[key]) for key, child in view.children(item).items() if key in stored]

    def _assign(self, variable: Any, node_id: int) -> None:
        key = next((a.checkpoint_key for a in self._graph.nodes[node_id].attributes if a.name == VALUE), None)
        if key is None or id(variable) in self.loaded:
            return
        found, wanted = tuple(self._shapes[key]), tuple(variable.shape.as_list())
        if found != wanted:
            self.refused[id(variable)] = f"shape {list(found)} in the checkpoint, {list(wanted)} here"
            return
        variable.assign(tf.cast(self._reader.get_tensor(key), variable.dtype))
        self.loaded.add(id(variable))
