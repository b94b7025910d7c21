"""Class losses: Model Garden's number, and the papers' formulas in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st
from official.vision.losses.focal_loss import FocalLoss

from stages.core.training.losses.class_losses import CLASS_LOSSES

pytestmark = pytest.mark.slow


def loss_of(name: str, logits: list[float], targets: list[float], **changes: float) -> np.ndarray:
    row = CLASS_LOSSES[name]
    arguments = {"alpha": row.alpha, "gamma": row.gamma, **changes}
    return np.asarray(row.function(tf.constant([logits]), tf.constant([targets]), **arguments))[0]


def entropy(score: float, target: float) -> float:
    return float(-target * np.log(score) - (1 - target) * np.log(1 - score))


def test_focal_is_model_gardens() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, 200).astype(np.float32)
    targets = (rng.random(200) < 0.2).astype(np.float32)
    expected = FocalLoss(alpha=0.25, gamma=1.5, reduction=tf_keras.losses.Reduction.SUM)(
        tf.constant([targets]), tf.constant([logits])
    )
    np.testing.assert_array_equal(np.sum(loss_of("focal", logits.tolist(), targets.tolist())), expected)


def test_varifocal_by_the_formula() -> None:
    score = 1 / (1 + np.exp(-0.4))
    found = loss_of("varifocal", [0.4, 0.4], [0.7, 0.0])
    np.testing.assert_allclose(found, [0.7 * entropy(score, 0.7), 0.75 * score**2 * entropy(score, 0)], rtol=1e-5)
    np.testing.assert_allclose(
        loss_of("varifocal", [0.4], [0.0], alpha=0.5, gamma=1.5), [0.5 * score**1.5 * entropy(score, 0)], rtol=1e-5
    )


def test_quality_focal_by_the_formula() -> None:
    score = 1 / (1 + np.exp(0.3))
    found = loss_of("quality_focal", [-0.3, -0.3], [0.8, 0.0])
    np.testing.assert_allclose(
        found, [(0.8 - score) ** 2 * entropy(score, 0.8), score**2 * entropy(score, 0)], rtol=1e-5
    )


@pytest.mark.parametrize("name", ["varifocal", "quality_focal"])
@settings(deadline=None, max_examples=25)
@given(target=st.floats(0.05, 0.95), wrong=st.floats(-6, 6))
def test_a_score_equal_to_the_quality_is_at_least_as_cheap(name: str, target: float, wrong: float) -> None:
    right = float(np.log(target / (1 - target)))
    at_right, at_wrong = loss_of(name, [right, wrong], [target, target])
    assert at_right <= at_wrong + 1e-6


@pytest.mark.parametrize("name", sorted(CLASS_LOSSES))
def test_losses_and_gradients_are_finite_for_any_score(name: str) -> None:
    row = CLASS_LOSSES[name]
    logits = tf.repeat(tf.constant([-200.0, -30.0, 0.0, 30.0, 200.0]), 3)
    targets = tf.tile(tf.constant([0.0, 1.0 if not row.learns_quality else 0.5, 1.0]), [5])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = row.function(logits, targets, row.alpha, row.gamma)
    assert np.isfinite(losses).all()
    assert (losses.numpy() >= 0).all()
    assert np.isfinite(tape.gradient(losses, logits)).all()
