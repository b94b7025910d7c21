"""Class heads: of what a checkpoint knows of each class, the rows of the classes that it shares with ours by name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stages.core.tables.detectors import Family

CLASS_AXES: Mapping[str, tuple[tuple[str, int], ...]] = {
    Family.RETINANET: ((r"head/_classifier/(kernel|pointwise_kernel|bias)", 1),),
    Family.SSDLITE: ((r"head/_classifier/\d+/(kernel|bias)", 1),),
    Family.MASKRCNN: (
        (r"detection_head/\d+/_classifier/(kernel|bias)", 1),
        (r"detection_head/\d+/_box_regressor/(kernel|bias)", 4),
        (r"mask_head/_mask_regressor/(kernel|bias)", 1),
    ),
}
"""By `Detector.family`: pattern of the variables whose last axis goes through the classes (background first), for every
anchor where there are anchors, with how many values for each class."""


@dataclass(frozen=True, kw_only=True)
class ClassRows:
    """Which class of a checkpoint each of ours is.

    Attributes:
      stored: Number of stored classes with background; ours: the same here.
      source: Our class number (0: background) to the checkpoint's, for those of one name.
    """

    stored: int
    ours: int
    source: Mapping[int, int]

    @property
    def is_identity(self) -> bool:
        return self.stored == self.ours and all(self.source.get(number) == number for number in range(self.ours))


def share_classes(stored: Mapping[int, str], ours: Mapping[int, str]) -> ClassRows:
    """Pairs classes by name, upper and lower case alike; background is always shared.

    Args:
      stored, ours: Class id, from 1, to name; ids without a name are classes that nothing is known of.
    """
    ids = {name.casefold(): number for number, name in stored.items()}
    shared = {number: ids[name.casefold()] for number, name in ours.items() if name.casefold() in ids}
    return ClassRows(stored=max(stored) + 1, ours=max(ours) + 1, source={0: 0, **shared})


def values_per_class(family: str, path: str) -> int | None:
    """How many values a variable has for each class and anchor; None if it knows no classes."""
    return next((num for pattern, num in CLASS_AXES.get(family, ()) if re.fullmatch(pattern, path)), None)


def carry_rows(stored: np.ndarray, fresh: np.ndarray, rows: ClassRows, per_class: int) -> np.ndarray | None:
    """Our variable with the values of the shared classes, and its own fresh ones for the others.

    Args:
      stored: The checkpoint's value, [..., anchors * stored classes * per_class].
      fresh: Ours, [..., anchors * our classes * per_class].
      rows: Which class is which.
      per_class: Values for each class and anchor.

    Returns:
      Of the shape and dtype of `fresh`; None if the two do not have the same anchors and the same other axes.
    """
    theirs, own = rows.stored * per_class, rows.ours * per_class
    if stored.shape[:-1] != fresh.shape[:-1] or stored.shape[-1] % theirs or fresh.shape[-1] % own:
        return None
    anchors = fresh.shape[-1] // own
    if stored.shape[-1] // theirs != anchors:
        return None
    source = stored.reshape(*stored.shape[:-1], anchors, rows.stored, per_class)
    result = fresh.copy().reshape(*fresh.shape[:-1], anchors, rows.ours, per_class)
    for number, found in rows.source.items():
        result[..., number, :] = source[..., found, :]
    return result.reshape(fresh.shape)
