"""Assignments as training targets, in the form of Model Garden's `AnchorLabeler` and in place of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from official.vision.ops import anchor, box_ops

from stages.core.training.losses.assigners import IGNORED, assign_by_iou
from stages.core.training.losses.boxes import box_areas, common_areas

IN_CROWD = 0.5
"""Share of an anchor's area from which it is a crowd's: COCO's evaluation ignores detections by the same measure."""


@dataclass(frozen=True, kw_only=True)
class TargetLabeler:
    """Model Garden's `AnchorLabeler` with any assigner that needs no predictions; parsers take it as `anchor_labeler`.

    Attributes:
      assign: (anchors per level, boxes [N, 4]) to int32 [A], as in `ASSIGNERS`.
      box_coder_weights: Factors of the four encoded numbers; None for ones.
    """

    assign: Callable[[Mapping[str, tf.Tensor], tf.Tensor], tf.Tensor] = assign_by_iou
    box_coder_weights: Sequence[float] | None = None

    def label_anchors(
        self,
        anchor_boxes: Mapping[str, tf.Tensor],
        gt_boxes: tf.Tensor,
        gt_labels: tf.Tensor,
        gt_attributes: Mapping[str, tf.Tensor] | None = None,
        gt_weights: tf.Tensor | None = None,
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor], dict[str, dict[str, tf.Tensor]], tf.Tensor, tf.Tensor]:
        """Targets of one image.

        Args:
          anchor_boxes: Per level float32 [h, w, anchors * 4] in input pixels.
          gt_boxes: float32 [N, 4] in input pixels, without padding; N may be 0.
          gt_labels: [N, 1], classes.
          gt_attributes: Per attribute [N, size].
          gt_weights: float32 [N], factors of the objects' losses.

        Returns:
          Per level class targets [h, w, anchors] (-1 for negatives), encoded boxes [h, w, anchors * 4], per attribute
          and level [h, w, anchors * size]; class weights and box weights, float32 [A] each.
        """
        assigned = self.assign(anchor_boxes, gt_boxes)
        is_positive = assigned >= 0
        # The row after the last is what anchors without an object get; so an image without any needs no branch.
        rows = tf.where(is_positive, assigned, tf.shape(gt_boxes)[0])
        weights = tf.ones_like(gt_boxes[:, 0]) if gt_weights is None else gt_weights
        object_weights = _gather_padded(weights, rows, 1)
        anchors = tf.concat([tf.reshape(level, [-1, 4]) for level in anchor_boxes.values()], axis=0)
        coder_weights = list(self.box_coder_weights) if self.box_coder_weights else None
        codes = box_ops.encode_boxes(_gather_padded(gt_boxes, rows, 0), anchors, coder_weights)
        return (
            anchor.unpack_targets(_gather_padded(gt_labels, rows, -1), anchor_boxes),
            anchor.unpack_targets(codes, anchor_boxes),
            {
                name: anchor.unpack_targets(_gather_padded(values, rows, 0), anchor_boxes)
                for name, values in (gt_attributes or {}).items()
            },
            tf.where(assigned == IGNORED, 0.0, object_weights),
            tf.where(is_positive, object_weights, 0.0),
        )


def ignore_crowds(
    anchors: tf.Tensor, cls_weights: tf.Tensor, box_weights: tf.Tensor, crowd_boxes: tf.Tensor
) -> tf.Tensor:
    """Class weights with 0 for negative anchors in a crowd, where an unlabelled object is no mistake.

    What is said of crowds here holds for all that `prepare` marks as ignored, such as difficult objects.

    Args:
      anchors: float32 [A, 4] in input pixels.
      cls_weights: float32 [A].
      box_weights: float32 [A], above 0 for positives, which stay.
      crowd_boxes: float32 [M, 4] in input pixels; M may be 0, and padding with -1 does nothing.
    """
    return tf.where(is_in_crowd(anchors, crowd_boxes) & (box_weights <= 0), 0.0, cls_weights)


def ignore_crowds_in_proposals(
    anchor_boxes: Mapping[str, tf.Tensor], score_targets: Mapping[str, tf.Tensor], crowd_boxes: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Targets of a region proposal network's scores with -1 (ignored) for negatives in a crowd.

    Model Garden has drawn the anchors that count by then: an image with crowds has fewer negatives, no others.

    Args:
      anchor_boxes: Per level float32 [h, w, anchors * 4] in input pixels.
      score_targets: Per level int32 [h, w, anchors]: 1 positive, 0 negative, -1 ignored.
      crowd_boxes: float32 [M, 4] in input pixels; M may be 0.
    """
    return {
        level: tf.where(
            (scores == 0) & is_in_crowd(tf.reshape(anchor_boxes[level], [*scores.shape, 4]), crowd_boxes), -1, scores
        )
        for level, scores in score_targets.items()
    }


def is_in_crowd(boxes: tf.Tensor, crowd_boxes: tf.Tensor) -> tf.Tensor:
    """Whether half of a box's area or more lies in one crowd, as COCO's evaluation ignores detections there.

    Args:
      boxes: float32 [..., N, 4] in pixels.
      crowd_boxes: float32 [..., M, 4] in pixels; M may be 0, and padding with -1 is no crowd.

    Returns:
      bool [..., N].
    """
    common = common_areas(tf.expand_dims(boxes, -2), tf.expand_dims(crowd_boxes, -3))
    return tf.reduce_any(tf.math.divide_no_nan(common, box_areas(boxes)[..., None]) >= IN_CROWD, axis=-1)


def _gather_padded(values: tf.Tensor, rows: tf.Tensor, padding: Any) -> tf.Tensor:
    """`values` [N, ...] by row, where row N is `padding`."""
    return tf.gather(tf.concat([values, tf.fill([1, *values.shape[1:]], tf.cast(padding, values.dtype))], 0), rows)
