"""Mask losses: Model Garden's number, values worked out by hand, and the same call."""

import numpy as np
import pytest
import tensorflow as tf
from official.vision.losses.maskrcnn_losses import MaskrcnnLoss

from stages.core.training.losses.mask_losses import MASK_LOSSES, MaskLoss

pytestmark = pytest.mark.slow


def random_masks(seed: int = 0) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(seed)
    logits = tf.constant(rng.normal(0, 2, (2, 5, 7, 6)), tf.float32)
    masks = tf.constant(rng.integers(0, 2, (2, 5, 7, 6)), tf.float32)
    return logits, masks, tf.constant([[1, 3, 0, 0, 2], [0, 0, 0, 1, 0]])


def test_default_is_model_gardens() -> None:
    np.testing.assert_allclose(MaskLoss()(*random_masks()), MaskrcnnLoss()(*random_masks()), rtol=1e-6)
    logits, masks, classes = random_masks()
    assert MaskLoss()(logits, masks, 0 * classes) == MaskrcnnLoss()(logits, masks, 0 * classes) == 0


def test_dice_by_hand() -> None:
    # Scores 0.5 on four pixels of which two are the object's: 2 * 1 + 1 over 4 / 4 + 2 + 1.
    masks = tf.constant([[[[1.0, 1.0], [0.0, 0.0]]]])
    loss = MaskLoss(name="dice")(tf.zeros([1, 1, 2, 2]), masks, tf.constant([[1]]))
    assert float(loss) == pytest.approx((1 - 3 / 4) / (1 + 0.01 / 4))


@pytest.mark.parametrize("name", sorted(MASK_LOSSES))
def test_the_right_mask_costs_nothing_and_any_other_something(name: str) -> None:
    _, masks, classes = random_masks()
    loss = MaskLoss(name=name)
    assert float(loss(40 * (2 * masks - 1), masks, classes)) == pytest.approx(0, abs=1e-6)
    assert float(loss(40 * (1 - 2 * masks), masks, classes)) > 0.5
    empty = tf.zeros_like(masks)
    assert float(loss(empty - 40, empty, classes)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", sorted(MASK_LOSSES))
def test_proposals_without_an_object_do_not_count(name: str) -> None:
    logits, masks, classes = random_masks()
    other = tf.where(classes[..., None, None] > 0, logits, -logits)
    assert MaskLoss(name=name)(logits, masks, classes) == MaskLoss(name=name)(other, masks, classes)


def test_the_sum_is_weighted() -> None:
    bce, dice = (float(MaskLoss(name=name)(*random_masks())) for name in ("bce", "dice"))
    both = MaskLoss(name="bce_dice", dice_weight=0.5)(*random_masks())
    assert float(both) == pytest.approx(bce + 0.5 * dice, rel=1e-5)


@pytest.mark.parametrize("name", sorted(MASK_LOSSES))
def test_gradients_are_finite(name: str) -> None:
    logits, masks, classes = random_masks()
    logits *= 100
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = MaskLoss(name=name)(logits, masks, classes)
    assert np.isfinite(tape.gradient(loss, logits)).all()


def test_a_wrong_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="known: bce, dice, bce_dice"):
        MaskLoss(name="dise")
