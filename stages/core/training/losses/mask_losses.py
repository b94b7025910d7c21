"""THE TABLE of mask losses of Mask R-CNN's mask head, callable as Model Garden's `MaskrcnnLoss` is."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from stages.core.params.names import check_name

SMOOTHING = 1.0
"""Pixels added to both sides of the Dice ratio: an empty mask, predicted as empty, costs nothing."""


@dataclass(frozen=True, kw_only=True)
class MaskTerm:
    """One way to measure masks.

    Attributes:
      function: (logits [B, M, H, W], targets [B, M, H, W], Dice weight) to the loss of each mask, float32 [B, M].
      summary: One line for `--help` and docs.
      source: Paper, or where the implementation comes from.
    """

    function: Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]
    summary: str
    source: str


def bce_masks(logits: tf.Tensor, targets: tf.Tensor, dice_weight: float = 0.0) -> tf.Tensor:
    """Binary cross-entropy, mean over the pixels: float32 [B, M]. `dice_weight` is not used."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits), axis=[2, 3])


def dice_masks(logits: tf.Tensor, targets: tf.Tensor, dice_weight: float = 1.0) -> tf.Tensor:
    """1 - Dice coefficient with squares (Milletari et al., "V-Net", 3DV 2016): float32 [B, M], 0..1.

    It does not depend on how much of the crop the object fills. `dice_weight` is not used.
    """
    masks = tf.sigmoid(logits)
    common = tf.reduce_sum(masks * targets, axis=[2, 3])
    total = tf.reduce_sum(masks**2 + targets**2, axis=[2, 3])
    return 1.0 - (2.0 * common + SMOOTHING) / (total + SMOOTHING)


def bce_dice_masks(logits: tf.Tensor, targets: tf.Tensor, dice_weight: float) -> tf.Tensor:
    """Cross-entropy plus `dice_weight` times the Dice loss: float32 [B, M], 0 or more."""
    return bce_masks(logits, targets) + dice_weight * dice_masks(logits, targets)


MASK_LOSSES: dict[str, MaskTerm] = {
    "bce": MaskTerm(
        function=bce_masks,
        summary="cross-entropy of every pixel",
        source="He et al., Mask R-CNN, ICCV 2017; official.vision.losses.maskrcnn_losses.MaskrcnnLoss",
    ),
    "dice": MaskTerm(
        function=dice_masks,
        summary="1 - Dice coefficient: overlap of the masks, whatever their size",
        source="Milletari et al., V-Net, 3DV 2016",
    ),
    "bce_dice": MaskTerm(
        function=bce_dice_masks,
        summary="cross-entropy plus Dice",
        source="sum of the two",
    ),
}


@dataclass(frozen=True, kw_only=True)
class MaskLoss:
    """Mean mask loss over the proposals that have an object.

    Attributes:
      name: Row of `MASK_LOSSES`.
      dice_weight: Factor of the Dice loss in `bce_dice`.

    Raises:
      ValueError: for a name that is not in the table, with those that are.
    """

    name: str = "bce"
    dice_weight: float = 1.0

    def __post_init__(self) -> None:
        check_name(self.name, "mask loss", MASK_LOSSES)

    def __call__(self, mask_outputs: tf.Tensor, mask_targets: tf.Tensor, select_class_targets: tf.Tensor) -> tf.Tensor:
        """Loss of one replica's masks, divided by the mean number of objects over all replicas.

        Args:
          mask_outputs: [B, M, H, W], logits of the proposal's class.
          mask_targets: [B, M, H, W], 0 or 1.
          select_class_targets: [B, M], 0 for proposals without an object.
        """
        logits, targets = tf.cast(mask_outputs, tf.float32), tf.cast(mask_targets, tf.float32)
        weights = tf.cast(select_class_targets > 0, tf.float32)
        losses = MASK_LOSSES[self.name].function(logits, targets, self.dice_weight)
        # The training step divides by the number of replicas once more: with the mean, all divide by the global count.
        count = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, tf.reduce_sum(weights))
        pixels = logits.shape[2] * logits.shape[3]
        # Model Garden counts pixels, and adds 0.01 of one against division by zero.
        return tf.reduce_sum(losses * weights) / (count + 0.01 / pixels)
