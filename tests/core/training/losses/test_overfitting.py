"""Every combination of assigner, box loss and class loss drives free outputs to the objects."""

from typing import Any

import pytest
import tensorflow as tf

from stages.core.training.losses.assigners import ASSIGNERS
from stages.core.training.losses.box_losses import BOX_LOSSES
from stages.core.training.losses.boxes import decode_predictions, paired_iou
from stages.core.training.losses.class_losses import CLASS_LOSSES
from stages.core.training.losses.detection_losses import DetectionLosses
from tests.loss_scene import NUM_CLASSES, anchors_of, flatten, make_labels, make_outputs

pytestmark = pytest.mark.slow

OBJECTS = [([[6.0, 9.0, 27.0, 22.0], [30.0, 20.0, 58.0, 62.0]], [1, 3]), ([[20.0, 20.0, 44.0, 41.0]], [2])]
STEPS, RATE = 100, 0.12


@tf.function
def fit(losses: DetectionLosses, labels: dict[str, Any], start: dict[str, Any]) -> tuple[Any, Any, Any]:
    """First and last loss, and the outputs after some steps of Adam on them."""
    values = tf.nest.flatten(start)
    means = [tf.zeros_like(value) for value in values]
    squares = [tf.zeros_like(value) for value in values]
    first = last = tf.constant(0.0)
    for step in tf.range(1, STEPS + 1):
        with tf.GradientTape() as tape:
            tape.watch(values)
            last, *_ = losses(tf.nest.pack_sequence_as(start, values), labels)
        first = tf.where(step == 1, last, first)
        gradients = tape.gradient(last, values)
        means = [0.9 * mean + 0.1 * gradient for mean, gradient in zip(means, gradients, strict=True)]
        squares = [0.99 * square + 0.01 * gradient**2 for square, gradient in zip(squares, gradients, strict=True)]
        count = tf.cast(step, tf.float32)
        # IoU losses have the same gradient however near they are: the rate must fall for them to settle.
        rate = RATE * (1 - count / STEPS)
        values = [
            value - rate * mean / (1 - 0.9**count) / (tf.sqrt(square / (1 - 0.99**count)) + 1e-7)
            for value, mean, square in zip(values, means, squares, strict=True)
        ]
    return first, last, tf.nest.pack_sequence_as(start, values)


@pytest.mark.parametrize("assigner", list(ASSIGNERS))
@pytest.mark.parametrize("box_loss", list(BOX_LOSSES))
@pytest.mark.parametrize("class_loss", list(CLASS_LOSSES))
def test_every_combination_learns_the_objects(assigner: str, box_loss: str, class_loss: str) -> None:
    losses = DetectionLosses(num_classes=NUM_CLASSES, assigner=assigner, box_loss=box_loss, class_loss=class_loss)
    first, last, outputs = fit(losses, make_labels(OBJECTS, assigner), make_outputs(len(OBJECTS)))
    assert last < 0.5 * first
    anchors = flatten(anchors_of())
    for image, (boxes, classes) in enumerate(OBJECTS):
        scores, codes = (
            tf.concat([tf.reshape(value[image], [-1, depth]) for value in outputs[name].values()], axis=0)
            for name, depth in (("cls_outputs", NUM_CLASSES), ("box_outputs", 4))
        )
        decoded = decode_predictions(codes, anchors)
        for box, label in zip(boxes, classes, strict=True):
            top = int(tf.argmax(scores[:, label]))
            assert int(tf.argmax(scores[top])) == label
            assert float(paired_iou(decoded[top], tf.constant(box))) > 0.9
