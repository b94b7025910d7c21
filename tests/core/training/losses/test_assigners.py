"""Assigners of the input pipeline: Model Garden's answer, and scenes whose answer is plain."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from official.vision.ops import anchor

from stages.core.training.losses.assigners import ASSIGNERS, IGNORED, NEGATIVE, assign_atss, assign_by_iou
from stages.core.training.losses.labeler import TargetLabeler, ignore_crowds
from tests.loss_scene import anchors_of, flatten, random_boxes

pytestmark = pytest.mark.slow

ANCHORS = anchors_of()
FLAT = flatten(ANCHORS).numpy()
ONE_PER_CELL = anchor.Anchor(3, 4, 1, [1.0], 2.0, (64, 64)).multilevel_boxes
"""Squares of 16 pixels on 8x8 cells, then of 32 pixels on 4x4 cells."""


def assert_same_targets(found: Any, expected: Any) -> None:
    for ours, theirs in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 3, 40])
@pytest.mark.parametrize("thresholds", [(0.5, 0.5), (0.6, 0.3)])
@pytest.mark.parametrize("coder_weights", [None, [10.0, 10.0, 5.0, 5.0]])
def test_by_iou_is_model_gardens_labeler(
    count: int, thresholds: tuple[float, float], coder_weights: list[float] | None
) -> None:
    positive, negative = thresholds
    rng = np.random.default_rng(count)
    boxes, classes = tf.constant(random_boxes(rng, count)), tf.constant(rng.integers(1, 4, (count, 1)))
    expected = anchor.AnchorLabeler(positive, negative, coder_weights).label_anchors(
        ANCHORS, boxes, classes, {"colour": tf.ones([count, 2])}
    )
    labeler = TargetLabeler(
        assign=lambda anchors, boxes: assign_by_iou(anchors, boxes, positive_iou=positive, negative_iou=negative),
        box_coder_weights=coder_weights,
    )
    assert_same_targets(labeler.label_anchors(ANCHORS, boxes, classes, {"colour": tf.ones([count, 2])}), expected)


def test_by_iou_breaks_ties_as_model_garden_does() -> None:
    # Twice the same object, one between four anchors, and one outside all of them.
    boxes = tf.constant([[8.0, 8.0, 24.0, 24.0], [8.0, 8.0, 24.0, 24.0], [30, 30, 34, 34], [500, 500, 510, 510]])
    classes = tf.constant([[1], [2], [3], [1]])
    expected = anchor.AnchorLabeler().label_anchors(ANCHORS, boxes, classes)
    assert_same_targets(TargetLabeler().label_anchors(ANCHORS, boxes, classes), expected)


@pytest.mark.parametrize("name", [name for name, row in ASSIGNERS.items() if not row.needs_predictions])
def test_runs_in_a_dataset_with_any_number_of_objects(name: str) -> None:
    labeler = TargetLabeler(assign=ASSIGNERS[name].function)
    counts = [0, 2, 5]

    def scenes() -> Any:
        for count in counts:
            yield random_boxes(np.random.default_rng(count), count), np.ones([count, 1], np.int64)

    signature = (tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([None, 1], tf.int64))
    data = tf.data.Dataset.from_generator(scenes, output_signature=signature)
    for count, (classes, codes, _, class_weights, box_weights) in zip(
        counts, data.map(lambda boxes, labels: labeler.label_anchors(anchors_of(), boxes, labels)), strict=True
    ):
        assert {level: value.shape for level, value in classes.items()} == {"3": (8, 8, 9), "4": (4, 4, 9)}
        assert codes["3"].shape == (8, 8, 36)
        assert tf.reduce_sum(class_weights) == len(FLAT)
        assert (tf.reduce_sum(box_weights) >= count) if count else (tf.reduce_sum(box_weights) == 0)


def test_weights_of_objects_reach_their_anchors() -> None:
    boxes, classes = tf.constant([[8.0, 8.0, 24.0, 24.0]]), tf.constant([[1]])
    *_, class_weights, box_weights = TargetLabeler().label_anchors(
        ANCHORS, boxes, classes, gt_weights=tf.constant([0.5])
    )
    assert set(box_weights.numpy()) == {0.0, 0.5}
    assert set(class_weights.numpy()) == {1.0, 0.5}


def test_atss_gives_an_object_the_anchors_of_its_position_and_size() -> None:
    # Exactly the 16-pixel anchor of cell (2, 3): its neighbours are 8 pixels off.
    assigned = assign_atss(ONE_PER_CELL, tf.constant([[12.0, 20.0, 28.0, 36.0]])).numpy()
    assert np.flatnonzero(assigned == 0).tolist() == [2 * 8 + 3]
    # Exactly the 32-pixel anchor of cell (1, 2) on the level above.
    assigned = assign_atss(ONE_PER_CELL, tf.constant([[8.0, 24.0, 40.0, 56.0]])).numpy()
    assert np.flatnonzero(assigned == 0).tolist() == [64 + 1 * 4 + 2]


def test_atss_threshold_is_mean_plus_deviation_of_the_candidates() -> None:
    box = np.asarray([[10.0, 18.0, 30.0, 40.0]], np.float32)
    flat = flatten(ONE_PER_CELL).numpy()
    centers = 0.5 * (flat[:, :2] + flat[:, 2:])
    distances = np.linalg.norm(centers - 0.5 * (box[0, :2] + box[0, 2:]), axis=1)
    # No two of the distances in question are the same.
    candidates = np.concatenate([np.argsort(distances[:64])[:9], 64 + np.argsort(distances[64:])[:9]])
    sides = np.minimum(flat[:, 2:], box[:, 2:]) - np.maximum(flat[:, :2], box[:, :2])
    common = np.prod(np.maximum(sides, 0), axis=1)
    ious = common / (np.prod(flat[:, 2:] - flat[:, :2], axis=1) + 20 * 22 - common)
    limit = ious[candidates].mean() + ious[candidates].std()
    expected = [
        index
        for index in candidates
        if ious[index] >= limit and (centers[index] > box[0, :2]).all() and (centers[index] < box[0, 2:]).all()
    ]
    assert len(expected) > 1
    assert set(np.flatnonzero(assign_atss(ONE_PER_CELL, tf.constant(box)).numpy() == 0)) == set(expected)


def test_atss_gives_a_contested_anchor_to_the_better_overlap() -> None:
    exact, larger = [12.0, 20.0, 28.0, 36.0], [10.0, 18.0, 30.0, 38.0]
    for boxes, owner in (([exact, larger], 0), ([larger, exact], 1)):
        assigned = assign_atss(ONE_PER_CELL, tf.constant(boxes)).numpy()
        assert assigned[2 * 8 + 3] == owner
        assert set(assigned) == {NEGATIVE, 0, 1}, "the other object is left with something"


@pytest.mark.parametrize("assign", [assign_by_iou, assign_atss])
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 6))
def test_only_real_objects_have_anchors(assign: Any, seed: int, count: int) -> None:
    assigned = assign(ANCHORS, tf.constant(random_boxes(np.random.default_rng(seed), count))).numpy()
    assert assigned.shape == (len(FLAT),)
    assert assigned.dtype == np.int32
    assert set(assigned) <= {NEGATIVE, IGNORED, *range(count)}
    assert (assigned >= 0).any() == (count > 0)


@pytest.mark.parametrize("assign", [assign_by_iou, assign_atss])
@pytest.mark.parametrize("seed", range(5))
def test_every_object_of_a_quarter_of_the_image_has_an_anchor(assign: Any, seed: int) -> None:
    """Of two objects whose best anchor is the same, one may have none; objects apart do not get in each other's way."""
    boxes = random_boxes(np.random.default_rng(seed), 4, size=32)
    boxes += np.asarray([[y, x, y, x] for y in (0, 32) for x in (0, 32)], np.float32)
    assert set(range(4)) <= set(assign(ANCHORS, tf.constant(boxes)).numpy())


def test_negatives_in_a_crowd_are_ignored_and_positives_are_not() -> None:
    anchors = tf.constant([[0.0, 0, 10, 10], [0, 5, 10, 15], [0, 6, 10, 16], [0, 0, 10, 10], [50, 50, 60, 60]])
    box_weights = tf.constant([0.0, 0.0, 0.0, 1.0, 0.0])
    crowd = tf.constant([[0.0, 0.0, 100.0, 10.0], [-1.0, -1.0, -1.0, -1.0]])
    found = ignore_crowds(anchors, tf.ones([5]), box_weights, crowd)
    assert found.numpy().tolist() == [0, 0, 1, 1, 1]
    found = ignore_crowds(anchors, tf.ones([5]), box_weights, tf.zeros([0, 4]))
    assert found.numpy().tolist() == [1, 1, 1, 1, 1]
