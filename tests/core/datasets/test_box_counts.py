"""Boxes of a whole set in another form than their format has; single odd boxes are no sign of it."""

import numpy as np
import pytest

from stages.core.base.errors import DataError
from stages.core.datasets.box_counts import BoxCounts, count_boxes, judge_boxes
from stages.core.datasets.samples import BoxForm
from stages.core.masks.segmentations import Box

HEIGHT, WIDTH = 128, 160


def corners(num: int = 40) -> list[Box]:
    """Boxes anywhere in an image, none smaller than 8 pixels."""
    rng = np.random.default_rng(0)
    lows = rng.uniform(0, [WIDTH - 8, HEIGHT - 8], (num, 2))
    highs = rng.uniform(lows + 8, [WIDTH, HEIGHT])
    return [(float(a), float(b), float(c), float(d)) for (a, b), (c, d) in zip(lows, highs, strict=True)]


def sides(box: Box) -> Box:
    return box[0], box[1], box[2] - box[0], box[3] - box[1]


def judge(read: list[Box], form: BoxForm) -> None:
    judge_boxes(count_boxes(read, HEIGHT, WIDTH, form), "set", form)


def as_sides(boxes: list[Box]) -> list[Box]:
    """Four numbers each, read as [x, y, width, height]."""
    return [(box[0], box[1], box[0] + box[2], box[1] + box[3]) for box in boxes]


def test_sound_boxes_pass() -> None:
    judge(corners(), "corners")
    judge(as_sides([sides(box) for box in corners()]), "width_height")


def test_corners_for_sides() -> None:
    with pytest.raises(
        DataError, match=r"set: \d+ of 40 boxes leave their image .* corners, expected width and height"
    ):
        judge(as_sides(corners()), "width_height")


def test_sides_for_corners() -> None:
    with pytest.raises(DataError, match=r"maximum below their minimum; .* width and height, expected corners"):
        judge([sides(box) for box in corners()], "corners")


@pytest.mark.parametrize("form", ["corners", "width_height"])
def test_fractions(form: BoxForm) -> None:
    boxes = [(box[0] / WIDTH, box[1] / HEIGHT, box[2] / WIDTH, box[3] / HEIGHT) for box in corners()]
    with pytest.raises(DataError, match=r"40 of 40 boxes lie within 0\.\.1: fractions of the image, expected pixels"):
        judge(boxes, form)


def test_some_odd_boxes_are_checked_one_by_one() -> None:
    over_the_border: list[Box] = [(150.0, 100.0, 190.0, 180.0)] * 30
    judge(corners() + over_the_border, "width_height")
    tiny: list[Box] = [(0.0, 0.0, 1.0, 1.0)] * 30
    judge(corners() + tiny, "corners")


def test_few_boxes_show_nothing() -> None:
    judge(as_sides([(80.0, 70.0, 140.0, 120.0)] * 4), "width_height")


def test_counts_add_up() -> None:
    one = count_boxes([*corners(3), None, (0.0, 0.0, float("nan"), 1.0)], HEIGHT, WIDTH, "corners")
    assert one.total == 3
    assert one + one == BoxCounts(total=6, unit=0, strange=0, other_form=2 * one.other_form)
