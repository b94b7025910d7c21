"""Masks survive every form they are written in; what is no mask is refused with a reason, never with a crash."""

import io

import numpy as np
import pytest
from dataset_builder import polygon
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from stages.core.masks.segmentations import (
    MaskError,
    decode_mask,
    encode_mask,
    mask_to_box,
    mask_to_png,
    segmentation_to_mask,
)

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)))


@given(mask=MASKS)
@settings(max_examples=60, deadline=None)
def test_run_length_code_round_trip(mask: np.ndarray) -> None:
    assert np.array_equal(decode_mask(encode_mask(mask)), mask)


@given(mask=MASKS.filter(lambda mask: mask.any()))
@settings(max_examples=60, deadline=None)
def test_compressed_and_plain_counts_agree(mask: np.ndarray) -> None:
    height, width = mask.shape
    flat = np.concatenate([[0], mask.T.ravel().astype(int), [2]])
    edges = np.flatnonzero(np.diff(flat) != 0) + 1
    counts = np.diff(np.concatenate([[1], edges])).tolist()  # runs of zeros and ones in turn, column by column
    if mask.T.ravel()[0]:
        counts = [0, *[count for count in counts if count]]
    plain = {"size": [height, width], "counts": counts}

    assert np.array_equal(segmentation_to_mask(plain, height, width), mask)
    assert np.array_equal(segmentation_to_mask(encode_mask(mask).to_coco(), height, width), mask)


@given(mask=MASKS.filter(lambda mask: mask.any()))
@settings(max_examples=60, deadline=None)
def test_box_is_the_tightest(mask: np.ndarray) -> None:
    x_min, y_min, x_max, y_max = (int(value) for value in mask_to_box(mask))
    inside = mask[y_min:y_max, x_min:x_max]
    assert inside.sum() == mask.sum()
    assert inside[0].any()
    assert inside[-1].any()
    assert inside[:, 0].any()
    assert inside[:, -1].any()


def test_png_holds_zeros_and_ones() -> None:
    mask = np.eye(5, 7, dtype=bool)
    decoded = np.asarray(Image.open(io.BytesIO(mask_to_png(mask))))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, mask.astype(np.uint8))


def test_polygon_covers_its_rectangle() -> None:
    expected = np.zeros((64, 96), bool)
    expected[20:50, 10:40] = True
    assert np.array_equal(segmentation_to_mask(polygon(), 64, 96), expected)


def test_polygon_without_the_outer_list() -> None:
    assert np.array_equal(segmentation_to_mask(polygon()[0], 64, 96), segmentation_to_mask(polygon(), 64, 96))


def test_parts_without_area_are_dropped() -> None:
    parts = [*polygon(), [1.0, 1.0, 5.0, 5.0]]
    assert np.array_equal(segmentation_to_mask(parts, 64, 96), segmentation_to_mask(polygon(), 64, 96))


@pytest.mark.parametrize(
    ("segmentation", "says"),
    [
        pytest.param([[1, 1, 5, 5]], "three corners", id="two_corners"),
        pytest.param([[1, 1, 5, 5, 9]], "three corners", id="odd_number_of_coordinates"),
        pytest.param([[0, 0, 1e9, 0, 1e9, 1e9]], "farther than", id="corner_far_away"),
        pytest.param([[0, 0, float("nan"), 0, 4, 4]], "farther than", id="not_a_number"),
        pytest.param([["a", "b", "c", "d", "e", "f"]], "cannot be read", id="text"),
        pytest.param([[200, 200, 210, 200, 210, 210]], "no pixel", id="outside"),
        pytest.param({"size": [64, 96], "counts": [5, 10**7]}, "sum to", id="counts_too_long"),
        pytest.param({"size": [64, 96], "counts": [5, 10]}, "sum to", id="counts_too_short"),
        pytest.param({"size": [64, 96], "counts": "zzzz\x7f"}, "cannot be read", id="damaged_compressed_counts"),
        pytest.param({"size": [64, 96], "counts": "52203"}, "sum to", id="compressed_counts_too_short"),
        pytest.param({"size": [64, 96], "counts": "5P"}, "inside a number", id="compressed_counts_cut"),
        pytest.param({"size": [64, 96], "counts": [-3, 64 * 96 + 3]}, "sum to", id="negative_count"),
        pytest.param({"size": [32, 32], "counts": [1024]}, "image of size", id="other_size"),
        pytest.param({"size": [64, 96]}, "cannot be read", id="no_counts"),
        pytest.param({"size": [64, 96], "counts": [64 * 96]}, "no pixel", id="empty"),
        pytest.param("mask.png", "cannot be read", id="file_name"),
    ],
)
def test_what_is_no_mask_is_refused(segmentation: object, says: str) -> None:
    with pytest.raises(MaskError, match=says):
        segmentation_to_mask(segmentation, 64, 96)
