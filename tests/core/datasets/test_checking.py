"""Objects are fitted to their image: cut where that is plain, refused where it is not."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dataset_builder import SQUARE, encode, picture, polygon
from hypothesis import given
from hypothesis import strategies as st

from stages.core.datasets.checking import CheckTask, check_image, check_object, clip_box, locate_image
from stages.core.datasets.decoding import RefusedError
from stages.core.datasets.samples import SourceImage, SourceObject

SIDES = st.tuples(st.floats(-500, 500), st.floats(-500, 500)).map(sorted)


@given(x_side=SIDES, y_side=SIDES)
def test_clipped_box_lies_inside_both(x_side: list[float], y_side: list[float]) -> None:
    (x_min, x_max), (y_min, y_max) = x_side, y_side
    try:
        box = clip_box((x_min, y_min, x_max, y_max), 100, 200)
    except RefusedError:
        # Refused only where hardly any of it is inside.
        assert min(x_max, 200) - max(x_min, 0) < 0.01 or min(y_max, 100) - max(y_min, 0) < 0.01
        return
    assert 0 <= box[0] < box[2] <= 200
    assert 0 <= box[1] < box[3] <= 100
    assert box[0] >= x_min
    assert box[1] >= y_min
    assert box[2] <= x_max
    assert box[3] <= y_max
    assert clip_box(box, 100, 200) == box


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        pytest.param(None, "no_box", id="none"),
        pytest.param((5, 5, 5, 9), "box_zero_area", id="no_width"),
        pytest.param((9, 5, 5, 9), "box_zero_area", id="swapped_corners"),
        pytest.param((96, 5, 120, 9), "box_outside", id="right_of_the_image"),
        pytest.param((-30, 5, 0, 9), "box_outside", id="left_of_the_image"),
        pytest.param((0, 0, math.nan, 9), "box_not_finite", id="not_a_number"),
        pytest.param((0, 0, math.inf, 9), "box_not_finite", id="infinite"),
    ],
)
def test_refused_boxes(box: tuple[float, float, float, float] | None, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_object(SourceObject(category_id=1, box_xyxy=box), 64, 96, needs_mask=False)
    assert refused.value.reason == reason


def test_box_over_the_border_is_cut_and_its_area_measured_anew() -> None:
    source = SourceObject(category_id=1, box_xyxy=(-10, 20, 40, 50), area=1500)
    found, repairs = check_object(source, 64, 96, needs_mask=False)
    assert repairs == ["box_clipped"]
    assert found.box_xyxy == (0, 20, 40, 50)
    assert found.area == 40 * 30


def test_rounding_at_the_border_is_no_repair() -> None:
    source = SourceObject(category_id=1, box_xyxy=(0, 0, 96.0000001, 64), area=6000.0)
    found, repairs = check_object(source, 64, 96, needs_mask=False)
    assert not repairs
    assert found.box_xyxy == (0, 0, 96, 64)
    assert found.area == 6000.0


def test_box_is_made_from_the_mask_where_it_lacks() -> None:
    found, repairs = check_object(SourceObject(category_id=1, segmentation=polygon()), 64, 96, needs_mask=True)
    assert repairs == ["box_from_mask"]
    assert found.box_xyxy == SQUARE
    assert found.area == 900


def test_object_without_mask_among_masks_is_refused() -> None:
    with pytest.raises(RefusedError, match="no_mask"):
        check_object(SourceObject(category_id=1, box_xyxy=SQUARE), 64, 96, needs_mask=True)


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/passwd", "a/../../b.jpg", "..\\b.jpg", "C:\\b.jpg", "", "a\0b"]
)
def test_names_that_lead_out_of_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.jpg").write_bytes(encode(picture()))
    with pytest.raises(RefusedError, match="unsafe_name"):
        locate_image(tmp_path / "images", name)


def test_name_that_no_system_takes_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="missing_file"):
        locate_image(tmp_path, "x" * 5000 + ".jpg")


def test_rejected_image_takes_its_objects_along(tmp_path: Path) -> None:
    image = SourceImage(folder=tmp_path, file="gone.jpg", objects=(SourceObject(category_id=1, box_xyxy=SQUARE),) * 3)
    checked = check_image(CheckTask(image=image, repaired_path=tmp_path / "repaired", max_side=100, needs_masks=False))
    assert checked.sample is None
    assert checked.num_objects == 3
    assert [fate.reason for fate in checked.fates] == ["missing_file"]


@pytest.mark.parametrize(
    ("difficult", "ignored", "reasons"),
    [("ignore", [False, True, True], []), ("keep", [False, False, True], []), ("drop", [False, True], ["difficult"])],
)
def test_difficult_objects_are_ignored_kept_or_dropped_and_crowds_ignored(
    tmp_path: Path, difficult: Any, ignored: list[bool], reasons: list[str]
) -> None:
    (tmp_path / "a.jpg").write_bytes(encode(picture()))
    plain = SourceObject(category_id=1, box_xyxy=SQUARE)
    objects = (plain, replace(plain, is_difficult=True), replace(plain, is_crowd=True))
    image = SourceImage(folder=tmp_path, file="a.jpg", objects=objects)
    task = CheckTask(image=image, repaired_path=tmp_path / "b", max_side=100, needs_masks=False, difficult=difficult)
    checked = check_image(task)
    assert checked.sample is not None
    assert [found.is_ignored for found in checked.sample.objects] == ignored
    assert len(checked.sample.counted) == ignored.count(False)
    assert [fate.reason for fate in checked.fates] == reasons


def test_copies_in_other_containers_have_the_same_pixels_hash(tmp_path: Path) -> None:
    hashes = set()
    for name, kind in (("a.png", "PNG"), ("b.bmp", "BMP"), ("c.jpg", "PNG")):
        (tmp_path / name).write_bytes(encode(picture(), kind))
        task = CheckTask(
            image=SourceImage(folder=tmp_path, file=name),
            repaired_path=tmp_path / f"repaired_{name}",
            max_side=100,
            needs_masks=False,
        )
        sample = check_image(task).sample
        assert sample is not None
        hashes.add(sample.pixels_sha256)
    assert len(hashes) == 1
