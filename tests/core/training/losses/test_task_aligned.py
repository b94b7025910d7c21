"""Task-aligned assignment on scenes whose answer is plain."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.training.losses.task_aligned import TOP, assign_task_aligned
from tests.loss_scene import NUM_CLASSES, PER_CELL, anchors_of, flatten, random_boxes

pytestmark = pytest.mark.slow

GRID = np.asarray([[y, x, y + 8, x + 8] for y in range(0, 32, 8) for x in range(0, 32, 8)], np.float32)
"""Sixteen anchors of 8 pixels side by side."""
LEFT, RIGHT = [0.0, 0.0, 32.0, 16.0], [0.0, 16.0, 32.0, 32.0]
"""Two objects of eight anchors each."""
in_graph = tf.function(assign_task_aligned)


def assign(
    boxes: list[list[float]],
    classes: list[int],
    *,
    scores: np.ndarray | None = None,
    predicted: np.ndarray | None = None,
    padding: int = 3,
) -> tuple[np.ndarray, np.ndarray]:
    """One image on GRID; every score 0.5 and every prediction the anchor itself unless given."""
    chances = np.full((1, 16, 3), 0.5, np.float32) if scores is None else scores[None]
    found, targets = assign_task_aligned(
        tf.constant(np.log(chances / (1 - chances))),
        tf.constant((GRID if predicted is None else predicted)[None]),
        tf.constant(GRID),
        tf.constant([boxes + [[-1.0] * 4] * padding]),
        tf.constant([classes + [-1] * padding]),
    )
    return found.numpy()[0], targets.numpy()[0]


def test_objects_get_the_anchors_inside_them() -> None:
    assigned, targets = assign([LEFT, RIGHT], [1, 2])
    assert assigned.reshape(4, 4).tolist() == [[0, 0, 1, 1]] * 4
    # All predict the same IoU of 64 / 512, so all have the object's highest IoU as target.
    np.testing.assert_allclose(targets, 1 / 8, rtol=1e-5)


def test_the_best_aligned_has_its_iou_as_target_and_the_others_their_share() -> None:
    predicted, scores = GRID.copy(), np.full((16, 3), 0.5, np.float32)
    predicted[0] = [0, 0, 32, 16]  # IoU 1
    predicted[1] = [0, 0, 16, 16]  # IoU 1/2
    scores[1, 1] = 0.8
    scores[:, 2] = 0.9  # of another class: of no account
    assigned, targets = assign([LEFT], [1], scores=scores, predicted=predicted)
    assert (assigned.reshape(4, 4)[:, :2] == 0).all()
    assert targets[0] == pytest.approx(1)
    assert targets[1] == pytest.approx(0.8 / 0.5 * 0.5**6, rel=1e-4)


def test_only_the_best_are_taken() -> None:
    scores = np.full((16, 3), 0.1, np.float32)
    scores[[3, 7, 12], 1] = 0.01
    assigned, _ = assign([[0.0, 0.0, 32.0, 32.0]], [1], scores=scores)
    assert np.flatnonzero(assigned < 0).tolist() == [3, 7, 12]
    assert (assigned >= 0).sum() == TOP


def test_a_contested_anchor_goes_to_the_object_that_it_predicts_best() -> None:
    whole, corner = [0.0, 0.0, 32.0, 32.0], [0.0, 0.0, 8.0, 8.0]
    for boxes, owner in (([whole, corner], 1), ([corner, whole], 0)):
        assigned, targets = assign(boxes, [1, 2])
        assert assigned[0] == owner
        assert targets[0] == pytest.approx(1)
        # The large object gets 13 anchors, by ties the first ones, less the contested one.
        assert (assigned == 1 - owner).sum() == TOP - 1


def test_of_twins_the_first_gets_all() -> None:
    assigned, _ = assign([LEFT, LEFT], [1, 2])
    assert set(assigned) == {-1, 0}


def test_padding_and_objects_without_area_get_nothing_and_indices_count_them() -> None:
    assigned, _ = assign([[-1.0] * 4, [4.0, 4.0, 4.0, 4.0], LEFT], [-1, 1, 2])
    assert set(assigned) == {-1, 2}


def test_an_object_between_the_centres_has_the_nearest_cell() -> None:
    assigned, targets = assign([[5.0, 5.0, 7.0, 7.0]], [1])
    assert np.flatnonzero(assigned == 0).tolist() == [0]
    assert targets[0] == pytest.approx(4 / 64)


@pytest.mark.parametrize("padding", [0, 5])
def test_an_image_without_objects(padding: int) -> None:
    assigned, targets = assign_task_aligned(
        tf.zeros([2, 16, 3]),
        tf.constant([GRID, GRID]),
        tf.constant(GRID),
        tf.fill([2, padding, 4], -1.0),
        tf.fill([2, padding], -1),
    )
    assert (assigned.numpy() == -1).all()
    assert not targets.numpy().any()


def test_more_objects_than_anchors_inside() -> None:
    boxes = [[0.0, 0.0, 8.0, 8.0 + 0.1 * index] for index in range(20)]
    assigned, _ = assign(boxes, [1] * 20)
    assert np.flatnonzero(assigned >= 0).tolist() == [0]
    assert assigned[0] == 0


def test_cells_are_their_anchors() -> None:
    rng = np.random.default_rng(3)
    anchors = flatten(anchors_of())
    # Of 9 pixels or more, so that each holds a centre.
    boxes = tf.constant([[[3.0, 4.0, 12.0, 40.0], [20.0, 20.0, 50.0, 60.0]]])
    logits = tf.constant(rng.normal(0, 1, (1, len(anchors), NUM_CLASSES)), tf.float32)
    by_cell = assign_task_aligned(
        logits, anchors[None], anchors, boxes, tf.constant([[1, 2]]), anchors_per_cell=PER_CELL
    )
    by_anchor = assign_task_aligned(logits, anchors[None], anchors, boxes, tf.constant([[1, 2]]))
    np.testing.assert_array_equal(by_cell[0], by_anchor[0])
    np.testing.assert_allclose(by_cell[1], by_anchor[1], rtol=1e-5)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 6))
def test_a_batch_is_its_images(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    anchors = flatten(anchors_of())
    boxes = np.full((2, 6, 4), -1, np.float32)
    classes = np.full((2, 6), -1, np.int64)
    boxes[0, :count], classes[0, :count] = random_boxes(rng, count), rng.integers(1, NUM_CLASSES, count)
    boxes[1, :1], classes[1, :1] = random_boxes(rng, 1), 1
    logits = tf.constant(rng.normal(0, 1, (2, len(anchors), NUM_CLASSES)), tf.float32)
    predicted = anchors + tf.constant(rng.normal(0, 1, (2, len(anchors), 4)), tf.float32)
    assigned, targets = in_graph(
        logits, predicted, anchors, tf.constant(boxes), tf.constant(classes), anchors_per_cell=PER_CELL
    )
    for image in range(2):
        alone = in_graph(
            logits[image : image + 1],
            predicted[image : image + 1],
            anchors,
            tf.constant(boxes[image : image + 1]),
            tf.constant(classes[image : image + 1]),
            anchors_per_cell=PER_CELL,
        )
        np.testing.assert_array_equal(alone[0][0], assigned[image])
        np.testing.assert_allclose(alone[1][0], targets[image], rtol=1e-5)
    owners = assigned.numpy()
    assert set(owners[0]) <= {-1, *range(count)}
    assert set(owners[1]) <= {-1, 0}
    for row in owners:
        values, counts = np.unique(row[row >= 0], return_counts=True)
        assert (counts <= TOP).all(), values
    assert ((targets.numpy() > 0) == (owners >= 0)).all()
    assert (targets.numpy() <= 1 + 1e-6).all()
