"""Mask R-CNN's second stage passes over crowds, as its region proposals and the evaluation do."""

import tensorflow as tf
from official.vision.modeling.layers import roi_sampler

from stages.core.training.losses.labeler import is_in_crowd

CROWD = -2
"""In `gt_classes`: the row of `gt_boxes` is a crowd's. Padding is -1."""
PADDING = -1


class CrowdAwareSampler(roi_sampler.ROISampler):  # type: ignore[misc]
    """Model Garden's sampler, for which a region in a crowd is no background.

    A region that overlaps an object well enough to be its own stays, wherever it is. The others in a crowd become what
    padding is to Model Garden, and are not sampled. Without crowds this is Model Garden's sampler; it has no variables
    of its own, so checkpoints fit both.
    """

    def call(
        self,
        boxes: tf.Tensor,
        gt_boxes: tf.Tensor,
        gt_classes: tf.Tensor,
        gt_outer_boxes: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, ...]:
        """Sampled regions with their targets, as Model Garden gives them.

        Args:
          boxes: float32 [batch, N, 4], proposals, [y_min, x_min, y_max, x_max] in input pixels.
          gt_boxes: float32 [batch, M, 4], objects and crowds, padded with -1.
          gt_classes: [batch, M], classes from 1, `CROWD`, or -1 for padding.
          gt_outer_boxes: As `gt_boxes`; None where masks are cropped to the boxes themselves.
        """
        gt_boxes = tf.cast(gt_boxes, boxes.dtype)
        no_box, no_class = tf.cast(PADDING, boxes.dtype), tf.cast(PADDING, gt_classes.dtype)
        is_crowd = (gt_classes == CROWD)[..., None]
        crowds, objects = tf.where(is_crowd, gt_boxes, no_box), tf.where(is_crowd, no_box, gt_boxes)
        overlaps = self._sim_calc(boxes, objects)
        is_objects = tf.reduce_max(overlaps, axis=-1) >= self._config_dict["foreground_iou_threshold"]
        is_ignored = is_in_crowd(boxes, crowds) & ~is_objects
        return super().call(  # type: ignore[no-any-return]
            tf.where(is_ignored[..., None], no_box, boxes),
            objects,
            tf.where(is_crowd[..., 0], no_class, gt_classes),
            gt_outer_boxes,
        )
