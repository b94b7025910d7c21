"""A mosaic shows parts of four images, with their objects in letterbox size."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.training.augmenting.mosaic import make_mosaic
from stages.core.training.augmenting.patch import fill
from stages.core.training.augmenting.sample import FILL
from tests.object_scenes import (
    BOX_SPEC,
    SEED_SPEC,
    SEEDS,
    SPEC,
    assert_close,
    assert_consistent,
    boxes_in_pixels,
    draw_sample,
    random_sample,
    samples,
    to_numpy,
    to_seed,
    without_masks,
)

pytestmark = pytest.mark.slow

SIZE = (48, 64)


def traced(spec: dict[str, Any], **options: Any) -> Any:
    return tf.function(partial(make_mosaic, size=SIZE, **options), input_signature=[[spec] * 4, SEED_SPEC])


mosaic, mosaic_of_boxes = traced(SPEC, min_visible=0.0), traced(BOX_SPEC, min_visible=0.0)
mosaic_of_whole_objects = traced(SPEC, min_visible=1.0)
stretched_mosaic = traced(SPEC, min_visible=0.0, fit=fill)


def full_image(size: tuple[int, int], category: int) -> dict[str, np.ndarray]:
    return draw_sample(size, {(0, 0, *size): category})


@settings(deadline=None, max_examples=30)
@given(four=st.lists(samples(high=120), min_size=4, max_size=4), seed=SEEDS)
def test_boxes_masks_and_colors_agree(four: list[dict[str, np.ndarray]], seed: int) -> None:
    made = to_numpy(mosaic(four, to_seed(seed)))
    assert made["image"].shape == (*SIZE, 3)
    assert_close(made)


@settings(deadline=None, max_examples=20)
@given(four=st.lists(samples(high=120), min_size=4, max_size=4), seed=SEEDS)
def test_without_masks_the_same_image(four: list[dict[str, np.ndarray]], seed: int) -> None:
    plain = to_numpy(mosaic_of_boxes([without_masks(sample) for sample in four], to_seed(seed)))
    assert_consistent(plain)
    np.testing.assert_array_equal(plain["image"], mosaic(four, to_seed(seed))["image"])


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_each_quadrant_shows_its_image(seed: int) -> None:
    made = to_numpy(mosaic([full_image(SIZE, category) for category in (1, 2, 3, 4)], to_seed(seed)))
    assert made["groundtruth_classes"].tolist() == [1, 2, 3, 4]
    boxes = np.round(boxes_in_pixels(made)).astype(int)
    center = boxes[0, 2:]
    assert (center >= np.asarray(SIZE) // 4).all()
    assert (center <= np.asarray(SIZE) * 3 // 4).all()
    expected = [[0, 0, *center], [0, center[1], center[0], 64], [center[0], 0, 48, center[1]], [*center, *SIZE]]
    np.testing.assert_array_equal(boxes, expected)
    assert (made["image"] != FILL).any(axis=-1).all()


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_a_smaller_image_adjoins_the_centre_on_grey(seed: int) -> None:
    # A strip: letterboxed to 3 x 64 pixels, lower than every quadrant.
    strip = full_image((3, 64), 1)
    made = to_numpy(mosaic([strip, full_image(SIZE, 2), strip, full_image(SIZE, 3)], to_seed(seed)))
    boxes = np.round(boxes_in_pixels(made)).astype(int)
    assert made["groundtruth_classes"].tolist() == [1, 2, 1, 3]
    center = boxes[1, 2], boxes[1, 1]
    np.testing.assert_array_equal(boxes[0], [center[0] - 3, 0, *center])
    np.testing.assert_array_equal(boxes[2], [center[0], 0, center[0] + 3, center[1]])
    assert (made["image"][: center[0] - 3, : center[1]] == FILL).all()
    assert (made["image"][center[0] + 3 :, : center[1]] == FILL).all()


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS)
def test_a_stretched_image_of_any_aspect_fills_its_quadrant(seed: int) -> None:
    made = to_numpy(
        stretched_mosaic([full_image(size, 1) for size in ((3, 64), (90, 20), (48, 64), (7, 7))], to_seed(seed))
    )
    assert (made["image"] != FILL).any(axis=-1).all()
    assert boxes_in_pixels(made)[:, 2:].max(axis=0).tolist() == list(SIZE)
    assert_close(made)


@settings(deadline=None, max_examples=20)
@given(scene=SEEDS, seed=SEEDS)
def test_whole_objects_have_the_size_of_a_letterbox(scene: int, seed: int) -> None:
    # Twice the canvas in either direction.
    sample = draw_sample((96, 128), {(20 + 3 * i, 12 * i, 34 + 3 * i, 12 * i + 10): 1 + i % 4 for i in range(10)})
    made = to_numpy(
        mosaic_of_whole_objects([sample, sample, sample, random_sample(scene, (96, 128), 0)], to_seed(seed))
    )
    boxes = boxes_in_pixels(made)
    # A window of 24 rows or more is off by half a source pixel at most.
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], np.tile([7.0, 5.0], (len(boxes), 1)), atol=0.3)


def test_hardly_visible_objects_are_dropped() -> None:
    four = [draw_sample((96, 128), {(0, 0, 96, 128): 1})] + [random_sample(1, (96, 128), 0)] * 3
    four = [without_masks(sample) for sample in four]
    least = traced(BOX_SPEC, min_visible=0.3)
    shares = []
    for seed in range(30):
        everything = mosaic_of_boxes(four, to_seed(seed))
        seen = least(four, to_seed(seed))
        boxes = boxes_in_pixels(to_numpy(everything))
        # The one object is the whole image: its visible share is that of its quadrant in the canvas.
        share = float(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).sum()) / (48 * 64)
        shares.append(share)
        assert (len(seen["groundtruth_boxes"]) == 1) == (share >= 0.3)
    assert min(shares) < 0.3 < max(shares)


def test_seed_decides() -> None:
    four = [random_sample(seed, (50, 90), 4) for seed in range(4)]
    images = [mosaic(four, to_seed(seed))["image"].numpy() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(images[0], images[1])
    assert (images[0] != images[2]).any()


def test_wrong_calls_are_refused() -> None:
    sample = random_sample(1, (20, 20), 1)
    with pytest.raises(ValueError, match="3 samples; a mosaic takes 4"):
        make_mosaic([sample] * 3, to_seed(1), size=SIZE)
    with pytest.raises(ValueError, match="both sides must be at least 4"):
        make_mosaic([sample] * 4, to_seed(1), size=(3, 50))
