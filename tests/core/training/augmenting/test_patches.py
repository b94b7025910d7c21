"""Geometry of patches: letterbox sizes, visible shares, and what is left of objects that are cut."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.training.augmenting.patch import Patch, draw_offset, letterbox, place_objects, visible_shares
from stages.core.training.augmenting.sample import join_objects
from tests.object_scenes import TRIANGLE, draw_sample, random_sample, to_numpy, to_seed, without_masks

pytestmark = pytest.mark.slow

SIDES = st.integers(1, 2000)


def patch(start: list[int], extent: list[int]) -> Patch:
    window = tf.constant(extent)
    return Patch(start=tf.constant(start), extent=window, tile=window, corner=tf.constant([0, 0]), canvas=window)


@settings(deadline=None, max_examples=50)
@given(size=st.tuples(SIDES, SIDES), canvas=st.tuples(SIDES, SIDES))
def test_a_letterbox_fits_and_touches(size: tuple[int, int], canvas: tuple[int, int]) -> None:
    tile = letterbox(tf.constant(size), tf.constant(canvas)).numpy()
    assert (tile >= 1).all()
    assert (tile <= canvas).all()
    assert (tile == canvas).any()
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    np.testing.assert_allclose(tile, np.maximum(1, np.multiply(size, scale)), atol=0.51)


@settings(deadline=None, max_examples=30)
@given(slack=st.tuples(st.integers(0, 30), st.integers(0, 30)), seed=st.integers(0, 1000))
def test_offsets_use_the_slack(slack: tuple[int, int], seed: int) -> None:
    offset = draw_offset(tf.constant(slack), to_seed(seed)).numpy()
    assert (offset >= 0).all()
    assert (offset <= slack).all()


def test_both_ends_of_the_slack_are_drawn() -> None:
    assert {int(draw_offset(tf.constant([2, 0]), to_seed(seed))[0]) for seed in range(40)} == {0, 1, 2}


@pytest.mark.parametrize(
    ("box", "share"),
    [
        pytest.param((10, 10, 20, 20), 1.0, id="inside"),
        pytest.param((0, 10, 20, 20), 0.5, id="above"),
        pytest.param((0, 0, 20, 20), 0.25, id="corner"),
        pytest.param((0, 0, 10, 100), 0.0, id="adjoins"),
        pytest.param((0, 0, 40, 80), 900 / 3200, id="covers_the_window"),
        pytest.param((20, 20, 20, 30), 0.0, id="has_no_area"),
    ],
)
def test_visible_shares(box: tuple[int, int, int, int], share: float) -> None:
    boxes = tf.constant([box], tf.float32) / [50.0, 100.0, 50.0, 100.0]
    found = visible_shares(boxes, tf.constant([50, 100]), patch([10, 10], [30, 30]))
    np.testing.assert_allclose(found, [share], atol=1e-5)


def test_boxes_of_cut_objects_are_tight_around_their_masks() -> None:
    sample = draw_sample((40, 40), {(0, 0, 20, 20): TRIANGLE, (30, 30, 40, 40): 2})
    everything = tf.constant([True, True])
    # Columns 15 on: the triangle starts in row 15 there, not in row 0.
    masked = to_numpy(place_objects(sample, patch([0, 15], [40, 25]), everything))
    np.testing.assert_allclose(masked["groundtruth_boxes"][0] * [40, 25, 40, 25], [15, 0, 20, 5], atol=1e-4)
    assert masked["groundtruth_area"].tolist() == [masked["groundtruth_instance_masks"][0].sum(), 100]
    plain = to_numpy(place_objects(without_masks(sample), patch([0, 15], [40, 25]), everything))
    np.testing.assert_allclose(plain["groundtruth_boxes"][0] * [40, 25, 40, 25], [0, 0, 20, 5], atol=1e-4)


def test_an_object_without_a_pixel_in_the_window_is_dropped() -> None:
    sample = draw_sample((40, 40), {(0, 0, 20, 20): TRIANGLE})
    assert len(place_objects(sample, patch([0, 15], [5, 25]), tf.constant([True]))["groundtruth_boxes"]) == 0


def test_masks_of_some_samples_only_are_refused() -> None:
    sample = random_sample(1, (20, 20), 2)
    with pytest.raises(ValueError, match="in some of the samples only"):
        join_objects(sample, without_masks(sample))


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_masks_keep_their_type(kind: type) -> None:
    sample = draw_sample((20, 20), {(0, 0, 9, 9): 1}, mask_type=kind)
    placed = place_objects(sample, patch([0, 5], [20, 15]), tf.constant([True]))
    assert placed["groundtruth_instance_masks"].dtype == kind
