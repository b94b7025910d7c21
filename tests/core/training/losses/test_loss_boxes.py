"""Box arithmetic: values worked out by hand, properties, and gradients where plain formulas have none."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from official.vision.ops import box_ops

from stages.core.training.losses.box_losses import BOX_LOSSES, BoxPairs
from stages.core.training.losses.boxes import decode_predictions, paired_ciou, paired_giou, paired_iou

pytestmark = pytest.mark.slow

UNIT = (0.0, 0.0, 2.0, 2.0)
HALF_TURN = 4 / math.pi**2


def aspect_cost(iou: float, angle: float) -> float:
    """alpha * v for boxes whose arc tangents of width over height differ by `angle`."""
    v = HALF_TURN * angle**2
    return v / (1 - iou + v) * v


# Boxes as [y_min, x_min, y_max, x_max]; IoU, GIoU and CIoU of each with UNIT.
BY_HAND = [
    # the same box
    (UNIT, 1.0, 1.0, 1.0),
    # moved by half its width: 2 of 6 shared, hull 2 x 3 full; centres 1 apart, diagonal² 13
    ((0.0, 1.0, 2.0, 3.0), 1 / 3, 1 / 3, 1 / 3 - 1 / 13),
    # moved by (1, 1): 1 of 7 shared, hull 9 with 2 empty; centres² 2, diagonal² 18
    ((1.0, 1.0, 3.0, 3.0), 1 / 7, 1 / 7 - 2 / 9, 1 / 7 - 2 / 18),
    # apart by a gap of 2: hull 2 x 6 = 12, 4 of it empty; centres² 16, diagonal² 40
    ((0.0, 4.0, 2.0, 6.0), 0.0, -4 / 12, -16 / 40),
    # touching at a corner: hull 16, 8 of it empty; centres² 8, diagonal² 32
    ((2.0, 2.0, 4.0, 4.0), 0.0, -0.5, -0.25),
    # inside, same centre, same shape: 1 of 4
    ((0.5, 0.5, 1.5, 1.5), 0.25, 0.25, 0.25),
    # upper half: 2 of 4; centres² 0.25, diagonal² 8; twice as wide as high
    ((0.0, 0.0, 1.0, 2.0), 0.5, 0.5, 0.5 - 0.25 / 8 - aspect_cost(0.5, math.atan(2) - math.pi / 4)),
    # no area, in the middle: only the shape's term, which takes the sides as equal
    ((1.0, 1.0, 1.0, 1.0), 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("box", "iou", "giou", "ciou"), BY_HAND)
def test_values_worked_out_by_hand(box: tuple[float, ...], iou: float, giou: float, ciou: float) -> None:
    pair = tf.constant([box]), tf.constant([UNIT])
    np.testing.assert_allclose(paired_iou(*pair), [iou], atol=1e-6)
    np.testing.assert_allclose(paired_giou(*pair), [giou], atol=1e-6)
    np.testing.assert_allclose(paired_ciou(*pair), [ciou], atol=1e-6)


coordinate = st.floats(0, 300, width=32)
side = st.floats(1, 200, width=32)
box = st.tuples(coordinate, coordinate, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
MEASURES = [paired_iou, paired_giou, paired_ciou]


@settings(deadline=None, max_examples=40)
@given(first=box, second=box, shift=st.floats(-100, 100), factor=st.floats(0.5, 4))
def test_measures_do_not_see_position_and_scale_and_are_ordered(
    first: tuple[float, ...], second: tuple[float, ...], shift: float, factor: float
) -> None:
    a, b = np.asarray(first, np.float32), np.asarray(second, np.float32)
    turned = [1, 0, 3, 2]
    left = tf.constant(np.stack([a, a * factor + shift, a[turned], b, a]), tf.float32)
    right = tf.constant(np.stack([b, b * factor + shift, b[turned], a, a]), tf.float32)
    iou, giou, ciou = (measure(left, right).numpy() for measure in MEASURES)
    assert ((iou >= 0) & (iou <= 1 + 1e-6)).all()
    assert ((giou >= -1 - 1e-6) & (giou <= iou + 1e-6)).all()
    assert (ciou <= iou + 1e-6).all()
    for values in (iou, giou, ciou):
        moved, transposed, swapped, same = values[1:]
        assert moved == pytest.approx(values[0], abs=2e-3)
        assert transposed == pytest.approx(values[0], abs=1e-4)
        assert same == pytest.approx(1)
        # CIoU's trade-off is symmetric too.
        assert swapped == pytest.approx(values[0], abs=1e-4)


@pytest.mark.parametrize("weights", [None, (10.0, 10.0, 5.0, 5.0)])
def test_decoding_is_model_gardens_within_the_limits(weights: tuple[float, ...] | None) -> None:
    rng = np.random.default_rng(1)
    codes = tf.constant(rng.normal(0, 1, (50, 4)), tf.float32)
    anchors = tf.constant([[10.0, 20.0, 42.0, 84.0]])
    expected = box_ops.decode_boxes(codes, anchors, list(weights) if weights else None)
    np.testing.assert_allclose(decode_predictions(codes, anchors, weights), expected, rtol=1e-5, atol=1e-3)


def test_a_box_out_of_the_limits_still_learns_its_way_back() -> None:
    codes = tf.constant([[0.0, 0.0, 30.0, -30.0]])
    with tf.GradientTape() as tape:
        tape.watch(codes)
        decoded = decode_predictions(codes, tf.constant([[0.0, 0.0, 16.0, 16.0]]))
        loss = tf.reduce_sum((decoded - tf.constant([[0.0, 0.0, 16.0, 16.0]])) ** 2)
    gradient = tape.gradient(loss, codes).numpy()[0]
    assert gradient[2] > 0
    assert gradient[3] < 0


CODES = [
    [0.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, -200.0, 0.0],
    [0.0, 0.0, -200.0, -200.0],
    [0.0, 0.0, 200.0, 200.0],
    [0.0, 0.0, 1e30, -1e30],
    [1e30, -1e30, 0.0, 0.0],
    [-1e4, 1e4, 50.0, -50.0],
]
TARGETS = [[100.0, 100.0, 132.0, 132.0], [0.0, 0.0, 1.0, 300.0], [5.0, 5.0, 5.0, 5.0]]


@pytest.mark.parametrize("name", sorted(BOX_LOSSES))
def test_losses_and_gradients_are_finite_for_any_box(name: str) -> None:
    codes = tf.constant(CODES * len(TARGETS))
    targets = tf.repeat(tf.constant(TARGETS), len(CODES), axis=0)
    anchors = tf.constant([[100.0, 100.0, 132.0, 132.0]])
    with tf.GradientTape() as tape:
        tape.watch(codes)
        pairs = BoxPairs(
            codes=codes,
            target_codes=tf.zeros_like(codes),
            boxes=decode_predictions(codes, anchors),
            target_boxes=targets,
        )
        losses = BOX_LOSSES[name].function(pairs, 0.1)
    assert losses.shape == [len(codes)]
    assert np.isfinite(losses).all()
    assert np.isfinite(tape.gradient(losses, codes)).all()
    assert (losses.numpy() >= 0).all()


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    "pair", [([3.0, 3.0, 3.0, 3.0], [3.0, 3.0, 3.0, 3.0]), ([9.0, 9.0, 1.0, 1.0], [0.0, 0.0, 4.0, 4.0])]
)
def test_measures_take_boxes_without_area(measure: object, pair: tuple[list[float], list[float]]) -> None:
    boxes = tf.constant([pair[0]])
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        value = measure(boxes, tf.constant([pair[1]]))  # type: ignore[operator]
    assert np.isfinite(value).all()
    assert np.isfinite(tape.gradient(value, boxes)).all()
