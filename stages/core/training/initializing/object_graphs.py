"""Reading TensorFlow 2's object-based checkpoints: the stored object graph and the model's are walked side by side."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from stages.core.training.initializing.stored import CheckpointFile, StoredVariables, damaged_checkpoint

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "VARIABLE_VALUE"
_AMONG_ALL = re.compile(r"layer-\d+")
SLOT = "/.OPTIMIZER_SLOT/"


def open_object_based(prefix: Path) -> StoredVariables:
    """A TF2 checkpoint, by its keys.

    Raises:
      CheckpointError: if the index or the object graph cannot be read.
    """
    try:
        file = CheckpointFile(prefix)
        shapes = file.shapes()
        graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(file.read(OBJECT_GRAPH))
    except Exception as error:  # plain RuntimeError and various tf.errors
        raise damaged_checkpoint(prefix, str(error)) from None
    shapes = {key: shape for key, shape in shapes.items() if VALUE in key and SLOT not in key}
    return StoredVariables(path=prefix, shapes=shapes, read_value=file.read, structure=graph)


def stored_top(graph: Any) -> list[str]:
    """Names at the top of a stored object graph."""
    return sorted(child.local_name for child in graph.nodes[0].children)


def stored_roots(graph: Any, part: str) -> list[int]:
    """Node ids at which a checkpoint may hold a part: at its top, or below `model`."""
    children = _children(graph, 0)
    groups = [children]
    if "model" in children:
        groups.append(_children(graph, children["model"]))
    return [group[name] for group in groups for name in (part, f"_{part}") if name in group]


def stored_keys(graph: Any, root_id: int) -> dict[str, str]:
    """Path below a stored node, e.g. `layer_with_weights-3/kernel`, to the key of its value; shortest paths only."""
    keys, seen, pending = {}, {root_id}, [(root_id, "")]
    while pending:
        node_id, path = pending.pop(0)
        key = _value_key(graph, node_id)
        if key is not None:
            keys[path] = key
        for name, child in _children(graph, node_id).items():
            if child not in seen:
                seen.add(child)
                pending.append((child, f"{path}/{name}".lstrip("/")))
    return keys


def match_objects(part: Any, graph: Any, root_id: int) -> dict[int, str]:
    """Keys of the values at the same paths: `id` of each variable below `part` to the key."""
    keys: dict[int, str] = {}
    view, pending, seen = tf.train.TrackableView(part), [(part, root_id)], set()
    while pending:
        item, node_id = pending.pop()
        if (id(item), node_id) in seen:
            continue
        seen.add((id(item), node_id))
        if isinstance(item, tf.Variable):
            key = _value_key(graph, node_id)
            if key is not None:
                keys.setdefault(id(item), key)
            continue
        stored: Mapping[str, int] = _children(graph, node_id)
        pending += [(child, stored[name]) for name, child in view.children(item).items() if name in stored]
    return keys


def _children(graph: Any, node_id: int) -> dict[str, int]:
    """Children by name. A functional model has its layers under two numbers: among all, and among those with weights.

    The first kind counts layers that do nothing, such as an activation that names an output: it is left out.
    """
    children = {child.local_name: child.node_id for child in graph.nodes[node_id].children}
    if "layer_with_weights-0" not in children:
        return children
    return {name: child for name, child in children.items() if not _AMONG_ALL.fullmatch(name)}


def _value_key(graph: Any, node_id: int) -> str | None:
    return next((a.checkpoint_key for a in graph.nodes[node_id].attributes if a.name == VALUE), None)
