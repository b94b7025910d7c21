"""Which tensor of one graph is which of the other: layers by their weights, all else by name."""

from collections.abc import Iterable
from math import prod

import numpy as np

from stages.core.bisecting.points import Point

ALIKE = 0.9
"""Mean cosine of the rows of two layers' weights from which they are one layer; int8 rounding leaves 0.999 and more."""


def match_points(
    reference: Iterable[Point], found: Iterable[Point], *, batch: int = 1
) -> tuple[tuple[Point, Point], ...]:
    """Pairs in the reference's execution order.

    A layer is known by its weights: converters rename most layers when they turn layouts or fold batch norms. Layers
    that share weights (heads on several levels) are told apart by their outputs' sizes.

    Args:
      reference, found: Points of both graphs in execution order.
      batch: How many images `found` computes at once; a tensor may hold one of them or all.
    """
    left = list(found)
    # What has several names is several ops in one: which of them it is the value of is not said.
    named = [(plain_names(point.name), point) for point in reversed(left) if not point.marks]
    by_name = {names[0]: point for names, point in named if len(names) == 1}
    pairs = []
    for point in reference:
        if point.marks:
            alike = [(_likeness(point, other), -position) for position, other in enumerate(left)]
            fitting = [pair for pair in alike if _fits(point, left[-pair[1]], batch)]
            likeness, position = max(fitting, default=(0.0, 0))
            if likeness >= ALIKE:
                pairs.append((point, left.pop(-position)))
            continue
        other = next((by_name[name] for name in plain_names(point.name) if name in by_name), None)
        if other is not None and _fits(point, other, batch):
            pairs.append((point, other))
    return tuple(pairs)


def plain_names(name: str) -> tuple[str, ...]:
    """Names without what calls of functions put in front; a .tflite joins those of merged ops by `;`."""
    names = []
    for part in name.split(";"):
        while part.startswith(("PartitionedCall/", "StatefulPartitionedCall/")):
            part = part.partition("/")[2]
        if part:
            names.append(part)
    return tuple(names)


def _fits(point: Point, other: Point, batch: int) -> bool:
    size = prod(point.shape)
    return size > 0 and prod(other.shape) in (size, size * batch)


def _likeness(point: Point, other: Point) -> float:
    return max((_compare(one, two) for one in point.marks for two in other.marks), default=0.0)


def _compare(one: np.ndarray, two: np.ndarray) -> float:
    """Mean cosine of rows, whatever their signs: a batch norm may turn them."""
    if one.shape != two.shape:
        return 0.0
    used = (np.abs(one).sum(axis=1) > 0) & (np.abs(two).sum(axis=1) > 0)
    return float(np.mean(np.abs(np.sum(one * two, axis=1))[used])) if used.any() else 0.0
