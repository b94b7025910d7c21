"""The outputs of Matterport's family of Mask R-CNN as the outputs that every detector of this pipeline has."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError
from stages.core.exporting.graph import detection_outputs
from stages.core.results.interface import TensorOutput


def check_matterport(detections: Sequence[int], masks: Sequence[int], source: str) -> tuple[int, int]:
    """(mask side, classes with the background) of outputs of shapes [1, D, 6] and [1, D, h, h, C].

    Raises:
      ArtifactError: if they are something else.
    """
    shape, mask_shape = tuple(detections), tuple(masks)
    fits = len(shape) == 3 and shape[0] == 1 and shape[2] == 6 and len(mask_shape) == 5
    if not fits or mask_shape[:2] != shape[:2] or mask_shape[2] != mask_shape[3] or mask_shape[4] < 2:
        raise ArtifactError(
            f"{source}: outputs {shape} and {mask_shape}; layout matterport expects [1, D, 6] and [1, D, h, h, C]"
        )
    return mask_shape[2], mask_shape[4]


def name_matterport(outputs: Mapping[str, Any], detections: str, masks: str, size: tuple[int, int]) -> dict[str, Any]:
    """The five outputs of an instance segmenter.

    Args:
      outputs: The model's own.
      detections, masks: Names of the two that count.
      size: (height, width) of the input in pixels.
    """
    with tf.name_scope("detections"):
        rows, all_masks = outputs[detections][0], outputs[masks][0]
        # This family divides by the sides less one, and counts the last pixel of a box in.
        sides = np.asarray([*size, *size], np.float32)
        boxes = (rows[:, :4] * (sides - 1) + np.asarray([0, 0, 1, 1], np.float32)) / sides
        labels, scores = rows[:, 4], rows[:, 5]
        valid = tf.cast(labels > 0, tf.float32)
        number, side, channels = all_masks.shape[0], all_masks.shape[1], all_masks.shape[3]
        cells = tf.constant(np.arange(number * side * side, dtype=np.float32).reshape(number, -1) * channels)
        picked = tf.cast(cells + tf.reshape(labels, [number, 1]), tf.int32)
        own = tf.gather(tf.reshape(all_masks, [-1]), picked) * valid[:, tf.newaxis]
        return {
            "detection_boxes": tf.expand_dims(boxes * valid[:, tf.newaxis], 0),
            "detection_scores": tf.expand_dims(scores * valid, 0),
            "detection_classes": tf.expand_dims((labels - 1) * valid, 0),
            "num_detections": tf.reshape(tf.reduce_sum(valid), [1]),
            "detection_masks": tf.reshape(own, [1, number, side, side]),
        }


def matterport_outputs(max_detections: int, mask_side: int) -> tuple[TensorOutput, ...]:
    """Their contract."""
    masks = TensorOutput(
        name="detection_masks",
        shape=(1, max_detections, mask_side, mask_side),
        dtype="float32",
        meaning="probability 0..1 that a cell of the box is the object; resize to the box to paste it",
    )
    return (*detection_outputs(max_detections), masks)
