"""Detections inside a deployment graph: candidates to the named outputs, the same for every family."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.exporting.boxes import suppress_overlaps
from stages.core.exporting.graph import PostProcessingSettings


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """Detections, best first; rows after the valid ones are zero.

    Attributes:
      boxes: float32 [D, 4] in input pixels. scores, classes: float32 [D]; classes from 0. valid: float32 [D], 1 or 0.
      num: int32 [].
    """

    boxes: Any
    scores: Any
    classes: Any
    valid: Any
    num: Any


def pick_detections(
    boxes: Any, scores: Any, classes: Any, *, input_size: tuple[int, int], settings: PostProcessingSettings
) -> Found:
    """The candidates that suppression leaves, cut to `max_detections`.

    Args:
      boxes: float32 [N, 4] in input pixels. scores: float32 [N], 0..1. classes: float32 [N], from 0.
      input_size: (height, width) in pixels.
      settings: Thresholds, and whether classes suppress each other.
    """
    indices, num = suppress_overlaps(
        boxes,
        scores,
        tf.zeros_like(classes) if settings.class_agnostic_nms else classes,
        input_size=input_size,
        max_outputs=settings.max_detections,
        iou_threshold=settings.nms_iou_threshold,
        score_threshold=settings.score_threshold,
        max_candidates=settings.pre_nms_top_k,
    )
    ranks = tf.constant(np.arange(settings.max_detections, dtype=np.float32))
    valid = tf.cast(ranks < tf.cast(num, tf.float32), tf.float32)
    return Found(
        boxes=tf.gather(boxes, indices) * tf.reshape(valid, [-1, 1]),
        scores=tf.gather(scores, indices) * valid,
        classes=tf.gather(classes, indices) * valid,
        valid=valid,
        num=num,
    )


def name_outputs(found: Found, input_size: tuple[int, int]) -> dict[str, Any]:
    """The outputs that every detector has, with the batch dimension and boxes over the input's sides."""
    height, width = input_size
    to_unit = tf.constant([1.0 / height, 1.0 / width, 1.0 / height, 1.0 / width])
    return {
        "detection_boxes": tf.expand_dims(found.boxes * to_unit, 0),
        "detection_scores": tf.expand_dims(found.scores, 0),
        "detection_classes": tf.expand_dims(found.classes, 0),
        "num_detections": tf.reshape(tf.cast(found.num, tf.float32), [1]),
    }


def describe_nms(settings: PostProcessingSettings) -> str:
    """One line for interface.json."""
    kind = "agnostic" if settings.class_agnostic_nms else "aware"
    return f"class-{kind} non-maximum suppression of the best {settings.pre_nms_top_k} candidates"
