"""Whether the boxes of a whole data set are what their format says: pixels, and corners or sides.

A single box cannot show it: [40, 30, 60, 50] is one by either reading. Many together can.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from stages.core.base.errors import DataError
from stages.core.datasets.samples import BoxForm
from stages.core.masks.segmentations import Box

MARGIN_PX = 1.0
"""A box that leaves its image by less was rounded."""
UNIT_SHARE = 0.5
"""Of boxes within a single pixel at the origin: above, they are fractions of the image."""
STRANGE_SHARE = 0.2
"""Of boxes that cannot be as they are read: above, they are in the other form, if nearly all can be in that."""
FITTING_SHARE = 0.95
FEWEST_BOXES = 5
"""Fewer show nothing: one box may well be wrong by itself."""


@dataclass(frozen=True, kw_only=True)
class BoxCounts:
    """Boxes of some images.

    Attributes:
      total: Those that are four finite numbers.
      unit: All coordinates within 0..1, and an area.
      strange: Impossible as read: for `width_height`, leaving the image; for `corners`, with a maximum below its
        minimum.
      other_form: Possible as read in the other form.
    """

    total: int = 0
    unit: int = 0
    strange: int = 0
    other_form: int = 0

    def __add__(self, other: "BoxCounts") -> "BoxCounts":
        return BoxCounts(
            **{part.name: getattr(self, part.name) + getattr(other, part.name) for part in fields(BoxCounts)}
        )


def count_boxes(boxes: Sequence[Box | None], height: int, width: int, form: BoxForm) -> BoxCounts:
    """Counts the boxes of one image.

    Args:
      boxes: [x_min, y_min, x_max, y_max] in pixels, as the reader made them of the annotation.
      height, width: Of the image.
      form: How the annotation states a box: [x_min, y_min, x_max, y_max], or [x_min, y_min, width, height].
    """
    finite = [box for box in boxes if box is not None and all(map(math.isfinite, box))]
    right, bottom = width + MARGIN_PX, height + MARGIN_PX
    unit = strange = other = 0
    for x_min, y_min, x_max, y_max in finite:
        unit += 0 <= x_min < x_max <= 1 and 0 <= y_min < y_max <= 1
        if form == "width_height":
            box_width, box_height = x_max - x_min, y_max - y_min
            strange += x_max > right or y_max > bottom
            other += x_min < box_width <= right and y_min < box_height <= bottom
        else:
            strange += x_max < x_min or y_max < y_min
            other += x_min + x_max <= right and y_min + y_max <= bottom
    return BoxCounts(total=len(finite), unit=unit, strange=strange, other_form=other)


def judge_boxes(counts: BoxCounts, where: str, form: BoxForm) -> None:
    """Raises DataError when the boxes of a data set are, taken together, something else than they are read as."""
    if counts.unit > UNIT_SHARE * counts.total:
        raise DataError(
            f"{where}: {counts.unit} of {counts.total} boxes lie within 0..1: fractions of the image, expected pixels; "
            "multiply them by the image's width and height"
        )
    is_strange = counts.total >= FEWEST_BOXES and counts.strange > STRANGE_SHARE * counts.total
    if is_strange and counts.other_form >= FITTING_SHARE * counts.total:
        if form == "width_height":
            told = "leave their image as [x, y, width, height]; nearly all fit as [x_min, y_min, x_max, y_max]: corners"
            wanted = "width and height"
        else:
            told = "have a maximum below their minimum; nearly all fit as [x, y, width, height]: width and height"
            wanted = "corners"
        raise DataError(f"{where}: {counts.strange} of {counts.total} boxes {told}, expected {wanted}")
