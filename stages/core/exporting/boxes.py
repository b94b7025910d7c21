"""Box arithmetic and suppression as static, batch-free TensorFlow: no loop, no dynamic shape, no batched gather.

Semantics follow Model Garden's `ops/box_ops.py` and its NMS `v2`, so that AP equals that of its own evaluation.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.substituting.empty_boxes import separate_empty

# Model Garden clips the predicted log of a side's growth here, so that exp() cannot overflow.
MAX_LOG_GROWTH = math.log(1000.0 / 16.0)


def decode_boxes(encoded: Any, anchors: Any, weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)) -> Any:
    """Faster R-CNN box encodings to corners.

    Args:
      encoded: float32 [N, 4], (dy, dx, dh, dw) times `weights`.
      anchors: float32 [N, 4], [y_min, x_min, y_max, x_max].
      weights: What training multiplied the four numbers with.

    Returns:
      float32 [N, 4], [y_min, x_min, y_max, x_max], in the anchors' unit.
    """
    with tf.name_scope("decode_boxes"):
        low, high = anchors[:, :2], anchors[:, 2:]
        side = high - low
        center = low + 0.5 * side
        shift = encoded[:, :2] * tf.constant([1.0 / weight for weight in weights[:2]])
        growth = encoded[:, 2:] * tf.constant([1.0 / weight for weight in weights[2:]])
        half = 0.5 * tf.exp(tf.minimum(growth, MAX_LOG_GROWTH)) * side
        center = center + shift * side
        return tf.concat([center - half, center + half], axis=1)


def clip_to_input(boxes: Any, input_size: tuple[int, int]) -> Any:
    """Boxes [N, 4] in pixels, cut at the borders of the input tensor."""
    height, width = (float(side) for side in input_size)
    return tf.maximum(tf.minimum(boxes, tf.constant([height, width, height, width])), 0.0)


def suppress_overlaps(
    boxes: Any,
    scores: Any,
    groups: Any,
    *,
    input_size: tuple[int, int],
    max_outputs: int,
    iou_threshold: float,
    score_threshold: float,
    max_candidates: int | None = None,
) -> tuple[Any, Any]:
    """Non-maximum suppression within each group, best `max_outputs` over all groups, in one builtin op.

    Boxes of different groups are moved apart by more than the input's size, so that they never overlap; taking the best
    of all groups then equals suppressing each by itself and merging the results by score. The op is fed ranks instead
    of scores: flat image regions and quantized heads give many equal scores, and runtimes order equals differently,
    while every runtime's top-k puts the lower index first. Boxes without area, which clipping makes of those that lie
    outside, are moved away (`separate_empty`): LiteRT too then returns each of them once.

    Args:
      boxes: float32 [N, 4] in pixels, at most half the input's longer side outside of it.
      scores: float32 [N].
      groups: float32 [N], whole numbers: pyramid level or class.
      score_threshold: Boxes whose score is not above it are left out.
      max_candidates: Only so many of the best boxes take part; None for all.

    Returns:
      int32 [max_outputs] indices into `boxes`, best score first, padded by valid indices; int32 [] how many are real.
    """
    with tf.name_scope("suppress_overlaps"):
        num_boxes = min(boxes.shape[0], max_candidates or boxes.shape[0])
        best, order = tf.math.top_k(scores, k=num_boxes)
        ranks = tf.constant(np.arange(num_boxes, 0, -1, dtype=np.float32)) * tf.cast(best > score_threshold, tf.float32)
        apart = tf.reshape(groups, [-1, 1]) * (2.0 * max(input_size))
        indices, num = tf.raw_ops.NonMaxSuppressionV4(
            boxes=separate_empty(tf.gather(boxes + apart, order)),
            scores=ranks,
            max_output_size=max_outputs,
            iou_threshold=iou_threshold,
            score_threshold=0.5,
            pad_to_max_output_size=True,
        )
        # Runtimes differ in what they pad with; a gather must never leave the array.
        return tf.gather(order, tf.clip_by_value(indices, 0, num_boxes - 1)), num
