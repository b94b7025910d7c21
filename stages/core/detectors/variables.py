"""The variables of a Model Garden detector by their path, as its checkpoints have them."""

from collections import deque
from typing import Any

import tensorflow as tf


def list_detector_variables(model: Any) -> dict[str, Any]:
    """Every variable of a Model Garden detector by its path, as its checkpoints have it."""
    paths: dict[str, Any] = {}
    for name, part in model.checkpoint_items.items():
        if part is not None:
            paths |= list_variables(part, name)
    return paths


def list_variables(part: Any, name: str) -> dict[str, Any]:
    """Every variable below a part of a model, by its shortest path, e.g. `head/classifier/kernel`."""
    view = tf.train.TrackableView(part)
    paths, seen, pending = {}, {id(part)}, deque([(part, name)])
    while pending:
        item, path = pending.popleft()
        if isinstance(item, tf.Variable):
            paths[path] = item
            continue
        for key, child in view.children(item).items():
            if id(child) not in seen:
                seen.add(id(child))
                pending.append((child, f"{path}/{key}"))
    return paths
