"""The losses of a one-stage detector: an assigner, a class loss and a box loss put together.

With the defaults the numbers are those of Model Garden's `RetinaNetTask.build_losses`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from official.vision.losses import loss_utils
from official.vision.ops import box_ops

from stages.core.params.names import check_name
from stages.core.training.losses.assigners import ASSIGNERS
from stages.core.training.losses.box_losses import BOX_LOSSES, BoxPairs
from stages.core.training.losses.boxes import decode_predictions, paired_iou
from stages.core.training.losses.class_losses import CLASS_LOSSES


@dataclass(frozen=True, kw_only=True)
class _Targets:
    """What a batch should predict.

    Attributes:
      classes: int [B, A], -1 for negatives. class_weights: float32 [B, A].
      positives: int64 [P, 2], (image, anchor) of what has a box to learn; the others follow this order.
      codes, boxes: float32 [P, 4], encoded and in input pixels. box_weights: float32 [P].
      qualities: float32 [P], 0..1, if the assigner rates its choices.
    """

    classes: tf.Tensor
    class_weights: tf.Tensor
    positives: tf.Tensor
    codes: tf.Tensor
    boxes: tf.Tensor
    box_weights: tf.Tensor
    qualities: tf.Tensor | None


@dataclass(frozen=True, kw_only=True)
class DetectionLosses:
    """Class and box loss of a batch.

    Attributes:
      num_classes: Channels of the class head per anchor, with the background's, which nothing learns.
      assigner, box_loss, class_loss: Rows of `ASSIGNERS`, `BOX_LOSSES` and `CLASS_LOSSES`.
      box_loss_weight: Factor of the box loss in the total; None for its row's.
      class_weights: Factor for the anchors of each class's objects, `num_classes` numbers, against class imbalance, as
        in Cui et al., "Class-Balanced Loss" (CVPR 2019). Negatives have 1; the sums that losses are divided by do not
        change.
      focal_alpha, focal_gamma: Of the class loss; None for its row's.
      huber_delta: Where `huber` turns from quadratic to linear.
      box_coder_weights: Factors of the four encoded numbers; None for ones.
      counts_one_more: Whether sums are divided by the number of positives plus 1, as in Model Garden, or by that number
        if there are any, as in the TF Object Detection API.

    Raises:
      ValueError: for a name that is in no table, with those that are, or a wrong number of weights.
    """

    num_classes: int
    assigner: str = "iou"
    box_loss: str = "huber"
    class_loss: str = "focal"
    box_loss_weight: float | None = None
    class_weights: tuple[float, ...] | None = None
    focal_alpha: float | None = None
    focal_gamma: float | None = None
    huber_delta: float = 0.1
    box_coder_weights: tuple[float, ...] | None = None
    counts_one_more: bool = True

    def __post_init__(self) -> None:
        check_name(self.assigner, "assigner", ASSIGNERS)
        check_name(self.box_loss, "box loss", BOX_LOSSES)
        check_name(self.class_loss, "class loss", CLASS_LOSSES)
        for name, weights, count in (
            ("class_weights", self.class_weights, self.num_classes),
            ("box_coder_weights", self.box_coder_weights, 4),
        ):
            if weights is not None and len(weights) != count:
                raise ValueError(f"{name}: {len(weights)} numbers; {count} are needed")

    def __call__(self, outputs: Mapping[str, Any], labels: Mapping[str, Any]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Losses of one replica's batch.

        Positives and their number are known only here, so shapes are dynamic: this does not compile with XLA.

        Args:
          outputs: `cls_outputs` and `box_outputs`, per level [B, h, w, anchors * num_classes] and
            [B, h, w, anchors * 4].
          labels: Model Garden's: `anchor_boxes`, `cls_weights` [B, A], and for an assigner of the input pipeline
            `cls_targets`, `box_targets` and `box_weights`. For one that needs predictions `gt_boxes` [B, N, 4] in input
            pixels and `gt_classes` [B, N], padded with -1; `cls_weights` then says which anchors are ignored unless
            they turn out positive (crowds), and may be missing.

        Returns:
          Model loss (class loss + weight * box loss), class loss, box loss: float32 scalars. They are sums, divided by
          the number of positives (see `counts_one_more`), or for soft targets by the sum of these, if that is above 1.
        """
        logits = tf.cast(loss_utils.multi_level_flatten(outputs["cls_outputs"], last_dim=self.num_classes), tf.float32)
        codes = tf.cast(loss_utils.multi_level_flatten(outputs["box_outputs"], last_dim=4), tf.float32)
        anchors = loss_utils.multi_level_flatten(labels["anchor_boxes"], last_dim=4)[0]
        if ASSIGNERS[self.assigner].needs_predictions:
            per_cell = next(iter(outputs["box_outputs"].values())).shape[-1] // 4
            targets = self._assign(logits, codes, anchors, labels, anchors_per_cell=per_cell)
        else:
            targets = self._stored_targets(anchors, labels)

        positive_codes = tf.gather_nd(codes, targets.positives)
        positive_anchors = tf.gather(anchors, targets.positives[:, 1])
        pairs = BoxPairs(
            codes=positive_codes,
            target_codes=targets.codes,
            boxes=decode_predictions(positive_codes, positive_anchors, self.box_coder_weights),
            target_boxes=targets.boxes,
        )
        class_loss = self._class_loss(logits, targets, pairs)
        row = BOX_LOSSES[self.box_loss]
        box_losses = row.function(pairs, self.huber_delta) * targets.box_weights
        box_loss = tf.reduce_sum(box_losses) / self._divisor(targets, targets.box_weights)
        weight = row.weight if self.box_loss_weight is None else self.box_loss_weight
        return class_loss + weight * box_loss, class_loss, box_loss

    def _class_loss(self, logits: tf.Tensor, targets: _Targets, pairs: BoxPairs) -> tf.Tensor:
        row = CLASS_LOSSES[self.class_loss]
        scores = tf.one_hot(targets.classes, self.num_classes)
        positive_scores = tf.ones_like(targets.box_weights)
        if row.learns_quality:
            if targets.qualities is None:
                positive_scores = tf.stop_gradient(paired_iou(pairs.boxes, pairs.target_boxes))
            else:
                positive_scores = targets.qualities
            factors = tf.scatter_nd(targets.positives, positive_scores, tf.shape(targets.classes, tf.int64))
            scores *= factors[..., None]
        alpha = row.alpha if self.focal_alpha is None else self.focal_alpha
        gamma = row.gamma if self.focal_gamma is None else self.focal_gamma
        losses = row.function(logits, scores, alpha, gamma)
        weights = targets.class_weights * self._imbalance_weights(targets.classes)
        return tf.reduce_sum(losses * weights[..., None]) / self._divisor(targets, positive_scores)

    def _imbalance_weights(self, classes: tf.Tensor) -> tf.Tensor:
        """Factor of each anchor's class loss, [B, A] or 1."""
        if self.class_weights is None:
            return tf.constant(1.0)
        weights = tf.gather(tf.constant(self.class_weights, tf.float32), tf.maximum(classes, 0))
        return tf.where(classes >= 0, weights, 1.0)

    def _stored_targets(self, anchors: tf.Tensor, labels: Mapping[str, Any]) -> _Targets:
        """Targets that the input pipeline made."""
        classes = tf.cast(loss_utils.multi_level_flatten(labels["cls_targets"]), tf.int32)
        positives = tf.where(labels["box_weights"] > 0)
        codes = tf.gather_nd(loss_utils.multi_level_flatten(labels["box_targets"], last_dim=4), positives)
        return _Targets(
            classes=classes,
            class_weights=labels["cls_weights"],
            positives=positives,
            codes=codes,
            boxes=box_ops.decode_boxes(codes, tf.gather(anchors, positives[:, 1]), self._coder_weights),
            box_weights=tf.gather_nd(labels["box_weights"], positives),
            qualities=None,
        )

    def _assign(
        self,
        logits: tf.Tensor,
        codes: tf.Tensor,
        anchors: tf.Tensor,
        labels: Mapping[str, Any],
        *,
        anchors_per_cell: int,
    ) -> _Targets:
        """Targets that follow from what the model predicts."""
        gt_boxes, gt_classes = labels["gt_boxes"], tf.cast(labels["gt_classes"], tf.int32)
        assigned, qualities = ASSIGNERS[self.assigner].function(
            logits,
            decode_predictions(codes, anchors, self.box_coder_weights),
            anchors,
            gt_boxes,
            gt_classes,
            anchors_per_cell=anchors_per_cell,
        )
        is_positive = assigned >= 0
        positives = tf.where(is_positive)
        objects = tf.stack([positives[:, 0], tf.cast(tf.gather_nd(assigned, positives), tf.int64)], axis=1)
        boxes = tf.gather_nd(gt_boxes, objects)
        classes = tf.tensor_scatter_nd_update(
            tf.fill(tf.shape(assigned), -1), positives, tf.gather_nd(gt_classes, objects)
        )
        weights = labels.get("cls_weights", tf.ones_like(qualities))
        positive_qualities = tf.gather_nd(qualities, positives)
        return _Targets(
            classes=classes,
            class_weights=tf.where(is_positive, 1.0, weights),
            positives=positives,
            codes=box_ops.encode_boxes(boxes, tf.gather(anchors, positives[:, 1]), self._coder_weights),
            boxes=boxes,
            box_weights=positive_qualities,
            qualities=positive_qualities,
        )

    def _divisor(self, targets: _Targets, amounts: tf.Tensor) -> tf.Tensor:
        """What a loss is divided by: the positives' weights, or the sum of their soft targets."""
        if targets.qualities is not None:
            return tf.maximum(tf.reduce_sum(amounts), 1.0)
        weights = tf.reduce_sum(targets.box_weights)
        return weights + 1.0 if self.counts_one_more else tf.maximum(weights, 1.0)

    @property
    def _coder_weights(self) -> list[float] | None:
        return list(self.box_coder_weights) if self.box_coder_weights else None
