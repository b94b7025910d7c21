"""Mask targets that lie where masks are pasted: the value of a cell is that of its centre.

Model Garden cuts targets out of masks in two steps. Both take the value of a pixel or cell for that of its upper left
corner, and the first, `tf.image.crop_and_resize`, lays its samples from border to border instead of from the centre of
the first cell to that of the last. A network that learns from such targets answers masks that lie up to a pixel off and
end before the object does. Model Garden's own evaluation widens masks by a pixel when it pastes them; clients do not.
"""

from typing import Any

import tensorflow as tf
from official.vision.modeling.layers.mask_sampler import MaskSampler
from official.vision.ops import box_ops, preprocess_ops

from stages.core.training.augmenting.sample import BOXES, IS_CROWD, MASKS, Sample, frame_of


def cut_masks(sample: Sample, image_info: tf.Tensor, *, side: int, outer_boxes_scale: float, skip_crowds: bool) -> Any:
    """The masks of those objects that Model Garden's parser keeps, in its order.

    Args:
      sample: As the parser got it.
      image_info: float32 [4, 2], as the parser gives it: where the image lies in the network's input.
      side: Cells along each side of a box.
      outer_boxes_scale: How much larger than its box what a mask spans is.
      skip_crowds: Whether the parser leaves crowds out.

    Returns:
      (float32 [N, 4], float32 [N, side, side]): what masks span, in pixels of the input, [y_min, x_min, y_max, x_max],
      and the masks, 0..1.
    """
    boxes, masks = sample[BOXES], sample[MASKS]
    if skip_crowds:
        is_object = ~sample[IS_CROWD]
        boxes, masks = tf.boolean_mask(boxes, is_object), tf.boolean_mask(masks, is_object)
    boxes = box_ops.denormalize_boxes(boxes, frame_of(sample))
    boxes = preprocess_ops.resize_and_crop_boxes(boxes, image_info[2], image_info[1], image_info[3])
    kept = box_ops.get_non_empty_box_indices(boxes)
    boxes, masks = tf.gather(boxes, kept), tf.gather(masks, kept)
    boxes = box_ops.compute_outer_boxes(boxes, image_info[1], outer_boxes_scale)
    pixels = (boxes + tf.tile(image_info[3], [2])) / tf.tile(image_info[2], [2])
    return boxes, sample_cells(masks, pixels, side)


def sample_cells(masks: Any, boxes: Any, side: int) -> tf.Tensor:
    """Bilinear samples of masks at the centres of cells.

    Args:
      masks: [N, H, W], 0..1.
      boxes: float32 [N, 4], [y_min, x_min, y_max, x_max] in pixels of the masks: the first pixel spans 0..1.
      side: Cells along each side of a box.

    Returns:
      float32 [N, side, side].
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    half_cell = (high - low) / (2 * side)
    # The op takes the first and last sample, in steps between the centres of the first and the last pixel.
    samples = tf.concat([low + half_cell, high - half_cell], axis=1) - 0.5
    steps = tf.cast(tf.tile(tf.shape(masks)[1:] - 1, [2]), tf.float32)
    found = tf.image.crop_and_resize(
        masks[..., None], samples / steps, box_indices=tf.range(tf.shape(masks)[0]), crop_size=[side, side]
    )
    return found[..., 0]


class CentredMaskSampler(MaskSampler):  # type: ignore[misc]
    """Model Garden's sampler of mask targets, with samples at the centres of cells; it has no variables."""

    def call(
        self, candidate_rois: Any, candidate_gt_boxes: Any, candidate_gt_classes: Any, indices: Any, gt_masks: Any
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Regions [B, K, 4], their classes [B, K] and targets [B, K, side, side], as Model Garden gives them."""
        # It takes the position in a mask for an index. The index is less by half a cell: so it is if boxes are that
        # much further down and right.
        low, high = tf.split(candidate_gt_boxes, 2, axis=-1)
        half_cell = (high - low) / (2 * gt_masks.shape[-1])
        shifted = candidate_gt_boxes + tf.concat([half_cell, half_cell], axis=-1)
        return super().call(  # type: ignore[no-any-return]
            candidate_rois, shifted, candidate_gt_classes, indices, gt_masks
        )
