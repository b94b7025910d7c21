"""A random crop is a window of the image, with the objects whose centre lies in it."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from stages.core.training.augmenting.cropping import crop_randomly
from tests.object_scenes import (
    BOX_SPEC,
    SEED_SPEC,
    SEEDS,
    SPEC,
    assert_consistent,
    assert_exact,
    draw_sample,
    random_sample,
    samples,
    to_numpy,
    to_seed,
    without_masks,
)

pytestmark = pytest.mark.slow

crop = tf.function(crop_randomly, input_signature=[SPEC, SEED_SPEC])
crop_boxes = tf.function(crop_randomly, input_signature=[BOX_SPEC, SEED_SPEC])
crop_small = tf.function(partial(crop_randomly, area=(0.05, 0.2)), input_signature=[SPEC, SEED_SPEC])


def with_coordinates(sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A sample whose pixels say where they are: channel 0 the row, channel 1 the column."""
    height, width = sample["image"].shape[:2]
    rows, columns = np.indices((height, width), np.uint8)
    return sample | {"image": np.stack([rows, columns, columns], axis=-1)}


@settings(deadline=None, max_examples=40)
@given(sample=samples(), seed=SEEDS)
def test_boxes_masks_and_colors_agree(sample: dict[str, np.ndarray], seed: int) -> None:
    cropped = to_numpy(crop(sample, to_seed(seed)))
    assert_exact(cropped)
    assert (len(cropped["groundtruth_classes"]) > 0) == (len(sample["groundtruth_classes"]) > 0)


@settings(deadline=None, max_examples=60)
@given(sample=samples(), seed=SEEDS)
def test_exactly_the_objects_centred_in_the_window_are_kept(sample: dict[str, np.ndarray], seed: int) -> None:
    sample = with_coordinates(without_masks(sample))
    cropped = to_numpy(crop_boxes(sample, to_seed(seed)))
    assert_consistent(cropped)
    size = np.asarray(cropped["image"].shape[:2])
    start = cropped["image"][0, 0, :2].astype(int)
    window = sample["image"][start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
    np.testing.assert_array_equal(cropped["image"], window)
    boxes = sample["groundtruth_boxes"] * np.tile(sample["image"].shape[:2], 2) - np.tile(start, 2)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    kept = ((centers > -1e-3) & (centers < size + 1e-3)).all(axis=1)
    expected = np.clip(boxes[kept], 0, np.tile(size, 2)) / np.tile(size, 2)
    # A centre on the very edge may go either way.
    if ((centers > 1e-3) & (centers < size - 1e-3)).all(axis=1).sum() == kept.sum():
        np.testing.assert_allclose(cropped["groundtruth_boxes"], expected, atol=1e-5)
        np.testing.assert_array_equal(cropped["groundtruth_classes"], sample["groundtruth_classes"][kept])


def test_windows_vary_and_one_in_seven_is_the_whole_image() -> None:
    sample = random_sample(5, (60, 90), 4)
    sizes = [crop(sample, to_seed(seed))["image"].shape[:2] for seed in range(140)]
    assert 10 <= sizes.count((60, 90)) <= 60
    assert len(set(sizes)) > 50


def test_area_is_the_windows_share_of_the_image() -> None:
    sample = random_sample(5, (90, 60), 5)
    sizes = {tuple(crop_small(sample, to_seed(seed))["image"].shape[:2]) for seed in range(60)} - {(90, 60)}
    shares = np.prod(list(sizes), axis=1) / (90 * 60)
    assert len(shares) > 5
    # Sides are rounded to whole pixels.
    assert 0.04 < shares.min() < shares.max() < 0.22


def test_a_crowd_alone_does_not_draw_the_window() -> None:
    sample = draw_sample((50, 50), {(0, 0, 5, 5): 6, (40, 40, 50, 50): 1})
    kept = [to_numpy(crop_small(sample, to_seed(seed)))["groundtruth_classes"].tolist() for seed in range(40)]
    assert [1] in kept
    assert kept.count([6]) < kept.count([1])
