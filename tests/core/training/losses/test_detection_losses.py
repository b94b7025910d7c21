"""Class and box loss together: Model Garden's numbers by default, and what each choice changes."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.vision.configs import retinanet as rn
from official.vision.tasks.retinanet import RetinaNetTask

from stages.core.training.losses.assigners import ASSIGNERS
from stages.core.training.losses.box_losses import BOX_LOSSES
from stages.core.training.losses.boxes import paired_iou
from stages.core.training.losses.class_losses import CLASS_LOSSES
from stages.core.training.losses.detection_losses import DetectionLosses
from tests.loss_scene import NUM_CLASSES, anchors_of, flatten, make_labels, make_outputs, random_boxes

pytestmark = pytest.mark.slow

CHOICES = [(a, b, c) for a in ASSIGNERS for b in BOX_LOSSES for c in CLASS_LOSSES]
ONE_OBJECT = [([[8.0, 8.0, 24.0, 24.0]], [2])]
NOTHING: list[tuple[Any, Any]] = [([], [])]


def random_batch(seed: int = 0) -> list[tuple[Any, Any]]:
    """Three images with 4, 0 and 1 objects."""
    rng = np.random.default_rng(seed)
    return [(random_boxes(rng, count), rng.integers(1, NUM_CLASSES, count)) for count in (4, 0, 1)]


@pytest.mark.parametrize("coder_weights", [None, (10.0, 10.0, 5.0, 5.0)])
def test_defaults_are_model_gardens_losses(coder_weights: tuple[float, ...] | None) -> None:
    outputs = make_outputs(3, np.random.default_rng(1))
    labels = make_labels(random_batch(), coder_weights=coder_weights)
    # Some anchors ignored, as an ignore band does.
    labels["cls_weights"] *= tf.cast(tf.random.stateless_uniform(labels["cls_weights"].shape, [1, 2]) < 0.9, tf.float32)
    task = RetinaNetTask(rn.RetinaNetTask(model=rn.RetinaNet(num_classes=NUM_CLASSES)))
    _, class_loss, box_loss, model_loss = task.build_losses(outputs, labels)
    found = DetectionLosses(num_classes=NUM_CLASSES, box_coder_weights=coder_weights)(outputs, labels)
    np.testing.assert_allclose(found, [model_loss, class_loss, box_loss], rtol=2e-6)


def test_own_numbers_are_model_gardens_too() -> None:
    outputs, labels = make_outputs(3, np.random.default_rng(2)), make_labels(random_batch(1))
    config = rn.RetinaNetTask(
        model=rn.RetinaNet(num_classes=NUM_CLASSES),
        losses=rn.Losses(focal_loss_alpha=0.4, focal_loss_gamma=2.0, huber_loss_delta=0.3, box_loss_weight=7),
    )
    _, class_loss, box_loss, model_loss = RetinaNetTask(config).build_losses(outputs, labels)
    losses = DetectionLosses(
        num_classes=NUM_CLASSES, focal_alpha=0.4, focal_gamma=2.0, huber_delta=0.3, box_loss_weight=7.0
    )
    np.testing.assert_allclose(losses(outputs, labels), [model_loss, class_loss, box_loss], rtol=2e-6)


@pytest.mark.parametrize(("kind", "name"), [("assigner", "iuo"), ("box_loss", "giou2"), ("class_loss", "cross")])
def test_a_wrong_name_is_answered_with_the_known_ones(kind: str, name: str) -> None:
    known = {"assigner": ASSIGNERS, "box_loss": BOX_LOSSES, "class_loss": CLASS_LOSSES}[kind]
    with pytest.raises(ValueError, match=f"known: {', '.join(known)}"):
        DetectionLosses(num_classes=3, **{kind: name})  # type: ignore[arg-type]


def test_weights_must_be_as_many_as_there_are_classes() -> None:
    with pytest.raises(ValueError, match="class_weights: 2 numbers; 3 are needed"):
        DetectionLosses(num_classes=3, class_weights=(1.0, 2.0))


@pytest.mark.parametrize(("assigner", "box_loss", "class_loss"), CHOICES)
def test_images_without_objects_have_a_class_loss_alone(assigner: str, box_loss: str, class_loss: str) -> None:
    losses = DetectionLosses(num_classes=NUM_CLASSES, assigner=assigner, box_loss=box_loss, class_loss=class_loss)
    total, of_classes, of_boxes = losses(make_outputs(2, np.random.default_rng(0)), make_labels(NOTHING * 2, assigner))
    assert np.isfinite(total)
    assert of_classes > 0
    assert of_boxes == 0


@pytest.mark.parametrize(("assigner", "box_loss", "class_loss"), [CHOICES[0], CHOICES[13], CHOICES[-1]])
def test_gradients_are_finite_for_outputs_out_of_all_bounds(assigner: str, box_loss: str, class_loss: str) -> None:
    losses = DetectionLosses(num_classes=NUM_CLASSES, assigner=assigner, box_loss=box_loss, class_loss=class_loss)
    outputs = make_outputs(3, np.random.default_rng(3), scale=300.0)
    with tf.GradientTape() as tape:
        tape.watch(tf.nest.flatten(outputs))
        total, *_ = losses(outputs, make_labels(random_batch(), assigner))
    assert np.isfinite(total)
    for gradient in tape.gradient(total, tf.nest.flatten(outputs)):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("assigner", sorted(ASSIGNERS))
@pytest.mark.parametrize("class_loss", sorted(CLASS_LOSSES))
def test_class_weights_scale_the_anchors_of_their_class(assigner: str, class_loss: str) -> None:
    def loss(weights: tuple[float, ...] | None) -> float:
        losses = DetectionLosses(
            num_classes=NUM_CLASSES, assigner=assigner, class_loss=class_loss, class_weights=weights
        )
        return float(losses(outputs, labels)[1])

    outputs, labels = make_outputs(1, np.random.default_rng(4)), make_labels(ONE_OBJECT, assigner)
    without = loss(None)
    assert loss((1.0, 1.0, 1.0, 1.0)) == pytest.approx(without)
    assert loss((9.0, 9.0, 1.0, 9.0)) == pytest.approx(without), "there is an object of class 2 alone"
    # Linear in the weight: the rest is the negatives.
    assert loss((1.0, 1.0, 3.0, 1.0)) - without == pytest.approx(2 * (without - loss((1.0, 1.0, 0.0, 1.0))), rel=1e-3)
    assert loss((1.0, 1.0, 3.0, 1.0)) > without


@pytest.mark.parametrize("class_loss", ["varifocal", "quality_focal"])
def test_a_score_of_a_half_rises_on_a_good_box_and_falls_on_a_bad_one(class_loss: str) -> None:
    """The object is one of the anchors exactly, and that anchor alone counts."""
    labels = make_labels([([[4.0, 12.0, 20.0, 28.0]], [2])])
    index = int(tf.argmax(paired_iou(flatten(anchors_of()), tf.constant([4.0, 12.0, 20.0, 28.0]))))
    alone = tf.one_hot([index], labels["cls_weights"].shape[1])
    labels = {**labels, "cls_weights": alone, "box_weights": alone}
    losses = DetectionLosses(num_classes=NUM_CLASSES, class_loss=class_loss)

    def slope(offset: float) -> float:
        outputs = make_outputs(1, logit=0.0)
        boxes = {level: values + offset for level, values in outputs["box_outputs"].items()}
        scores = list(outputs["cls_outputs"].values())
        with tf.GradientTape() as tape:
            tape.watch(scores)
            _, class_loss, _ = losses({**outputs, "box_outputs": boxes}, labels)
        gradients = tape.gradient(class_loss, scores)
        return float(tf.concat([tf.reshape(part, [-1, NUM_CLASSES]) for part in gradients], axis=0)[index, 2])

    assert slope(0.0) < 0  # IoU 1
    assert slope(0.7) > 0  # IoU 0.1


def test_scores_do_not_move_boxes() -> None:
    outputs, labels = make_outputs(1), make_labels(ONE_OBJECT)
    for assigner in ASSIGNERS:
        losses = DetectionLosses(num_classes=NUM_CLASSES, assigner=assigner, class_loss="varifocal")
        boxes = list(outputs["box_outputs"].values())
        with tf.GradientTape() as tape:
            tape.watch(boxes)
            _, class_loss, _ = losses(outputs, labels)
        assert all(gradient is None for gradient in tape.gradient(class_loss, boxes))


def test_a_crowd_takes_negatives_out_of_every_assigners_loss() -> None:
    outputs = make_outputs(1, np.random.default_rng(5))
    for assigner in ASSIGNERS:
        labels = make_labels(ONE_OBJECT, assigner)
        losses = DetectionLosses(num_classes=NUM_CLASSES, assigner=assigner)
        everything = losses(outputs, labels)
        negatives_ignored = losses(outputs, {**labels, "cls_weights": labels["box_weights"]})
        assert 0 < negatives_ignored[1] < everything[1]
        assert negatives_ignored[2] == everything[2]


def test_labels_without_class_weights_do_for_what_needs_predictions() -> None:
    outputs, labels = make_outputs(3, np.random.default_rng(6)), make_labels(random_batch())
    losses = DetectionLosses(num_classes=NUM_CLASSES, assigner="task_aligned", class_loss="quality_focal")
    fewer = {name: labels[name] for name in ("anchor_boxes", "gt_boxes", "gt_classes")}
    np.testing.assert_allclose(losses(outputs, fewer), losses(outputs, labels))
