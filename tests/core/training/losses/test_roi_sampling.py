"""Regions of Mask R-CNN's second stage: objects' own, background, and those in crowds, which are neither."""

import numpy as np
import pytest
import tensorflow as tf
from official.vision.modeling.layers import roi_sampler

from stages.core.training.losses.labeler import ignore_crowds_in_proposals, is_in_crowd
from stages.core.training.losses.roi_sampling import CROWD, CrowdAwareSampler

pytestmark = pytest.mark.slow

OBJECT, REGION = [0.0, 0.0, 10.0, 10.0], [0.0, 20.0, 40.0, 60.0]
IN_REGION = [[1.0, 21.0, 11.0, 31.0], [30.0, 40.0, 40.0, 50.0], [0.0, 15.0, 10.0, 25.0]]
OUTSIDE = [[0.0, 12.0, 10.0, 22.0], [50.0, 0.0, 60.0, 10.0]]
SMALL_IN_REGION = [5.0, 30.0, 15.0, 40.0]


def sample(
    sampler: roi_sampler.ROISampler, boxes: list[list[float]], truth: list[list[float]], classes: list[int], keep: int
) -> tuple[np.ndarray, np.ndarray]:
    """Regions that a sampler keeps, of one image, and their classes."""
    rows = 6
    padded = np.full((1, rows, 4), -1, np.float32)
    padded[0, : len(truth)] = np.reshape(truth, [-1, 4])
    numbers = np.full((1, rows), -1, np.int64)
    numbers[0, : len(classes)] = classes
    tf.random.set_seed(0)
    # As in training: traced, where numbers are not converted as they are in eager mode.
    rois, _, found, _ = tf.function(sampler)(tf.constant([boxes]), tf.constant(padded), tf.constant(numbers))
    return rois[0].numpy()[:keep], found[0].numpy()[:keep]


def make(kind: type[roi_sampler.ROISampler], num: int, *, foreground: float = 0.5) -> roi_sampler.ROISampler:
    return kind(mix_gt_boxes=True, num_sampled_rois=num, foreground_fraction=foreground)


def test_regions_in_a_crowd_are_not_sampled() -> None:
    boxes = [*IN_REGION, *OUTSIDE]
    # The object itself, which Model Garden adds to the proposals, and what is outside: no more candidates are left.
    rois, classes = sample(make(CrowdAwareSampler, 3), boxes, [OBJECT, REGION], [2, CROWD], keep=3)
    assert sorted(map(tuple, rois.tolist())) == sorted(map(tuple, [OBJECT, *OUTSIDE]))
    assert sorted(classes.tolist()) == [0, 0, 2]


def test_an_object_in_a_crowd_keeps_its_regions() -> None:
    sampler = make(CrowdAwareSampler, 2, foreground=1.0)
    boxes = [SMALL_IN_REGION, *IN_REGION]
    rois, classes = sample(sampler, boxes, [SMALL_IN_REGION, REGION], [1, CROWD], keep=2)
    assert rois.tolist() == [SMALL_IN_REGION] * 2
    assert classes.tolist() == [1, 1]


@pytest.mark.parametrize("truth", [[OBJECT], [OBJECT, SMALL_IN_REGION], []])
def test_without_crowds_it_is_model_gardens(truth: list[list[float]]) -> None:
    boxes = [*IN_REGION, *OUTSIDE, [1.0, 1.0, 10.0, 10.0]]
    classes = list(range(1, len(truth) + 1))
    ours, theirs = (
        sample(make(kind, 5), boxes, truth, classes, keep=5) for kind in (CrowdAwareSampler, roi_sampler.ROISampler)
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_padding_is_no_crowd_and_a_box_without_area_in_none() -> None:
    boxes = tf.constant([[0.0, 0.0, 4.0, 4.0], [-1.0, -1.0, -1.0, -1.0]])
    for crowds in (tf.zeros([0, 4]), tf.fill([2, 4], -1.0)):
        assert not is_in_crowd(boxes, crowds).numpy().any()


def test_proposals_change_only_where_they_are_negative_and_in_the_crowd() -> None:
    anchors = {"3": tf.constant([[[*OBJECT, *IN_REGION[0]], [*IN_REGION[1], *OUTSIDE[0]]]])}
    for scores, expected in (([0, 0, 1, 0], [0, -1, 1, 0]), ([1, -1, 0, -1], [1, -1, -1, -1])):
        targets = {"3": tf.reshape(tf.constant(scores), [1, 2, 2])}
        found = ignore_crowds_in_proposals(anchors, targets, tf.constant([REGION]))
        assert found["3"].numpy().ravel().tolist() == expected
