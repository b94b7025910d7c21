"""Differentiable box arithmetic for losses: decoding, and overlap measures of boxes paired row by row.

Boxes are float32 [..., 4], [y_min, x_min, y_max, x_max] in input pixels. Nothing here yields NaN or infinity, in value
or gradient, for boxes without area or for whatever finite codes a head may predict.

Sources: Ren et al., "Faster R-CNN" (NeurIPS 2015) for the box code; Rezatofighi et al., "Generalized Intersection over
Union" (CVPR 2019); Zheng et al., "Distance-IoU Loss" (AAAI 2020).
"""

import math
from collections.abc import Sequence

import tensorflow as tf

MAX_LOG_GROWTH = math.log(1000.0 / 16.0)
"""Limit of a decoded log side, both ways. Model Garden clips the upper end of its predictions at the same value."""
MAX_SHIFT = 1000.0
"""Limit of a decoded centre's shift, in sides of the anchor: squared distances stay far from float32's range."""
SMALLEST_SIDE = 1e-6


def decode_predictions(codes: tf.Tensor, anchors: tf.Tensor, weights: Sequence[float] | None = None) -> tf.Tensor:
    """Boxes that a head predicts, limited in size and distance so that any loss on them is finite.

    Inside the limits this equals Model Garden's `box_ops.decode_boxes`. Beyond them the gradient passes as if there
    were no limit: with a plain clip an outlier would never learn its way back.

    Args:
      codes: float32 [..., 4], (dy, dx, dh, dw) times `weights`.
      anchors: float32 [..., 4] in pixels.
      weights: The box coder's four factors; None for ones.
    """
    codes = codes / tf.constant(list(weights), tf.float32) if weights else codes
    shift, growth = _limit(codes[..., :2], MAX_SHIFT), _limit(codes[..., 2:], MAX_LOG_GROWTH)
    low, high = anchors[..., :2], anchors[..., 2:]
    side = high - low
    center, half = low + (0.5 + shift) * side, 0.5 * tf.exp(growth) * side
    return tf.concat([center - half, center + half], axis=-1)


def _limit(values: tf.Tensor, limit: float) -> tf.Tensor:
    """Values in -limit..limit, with the gradient of the identity."""
    return tf.custom_gradient(lambda x: (tf.clip_by_value(x, -limit, limit), lambda upstream: upstream))(values)


def paired_iou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Intersection over union of boxes [..., 4] with others [..., 4]: float32 [...], 0..1; 0 without area."""
    common, union = _overlap(boxes, others)
    return tf.math.divide_no_nan(common, union)


def paired_giou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Generalized IoU (Rezatofighi et al., CVPR 2019) of boxes [..., 4] with others [..., 4]: float32 [...], -1..1.

    IoU less the share of the common hull that neither box covers, so that boxes apart are still drawn together.
    """
    common, union = _overlap(boxes, others)
    height, width = _hull(boxes, others)
    hull = height * width
    return tf.math.divide_no_nan(common, union) - tf.math.divide_no_nan(hull - union, hull)


def paired_ciou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Complete IoU (Zheng et al., AAAI 2020) of boxes [..., 4] with others [..., 4]: float32 [...], at most 1.

    IoU less the squared distance of the centres relative to the hull's diagonal, less a term for the aspect ratios,
    whose trade-off is constant to the gradient, as in the authors' code.
    """
    iou = paired_iou(boxes, others)
    centers = 0.5 * (boxes[..., :2] + boxes[..., 2:] - others[..., :2] - others[..., 2:])
    height, width = _hull(boxes, others)
    distance = tf.math.divide_no_nan(tf.reduce_sum(centers**2, axis=-1), height**2 + width**2)
    aspect = (4 / math.pi**2) * (_angle(others) - _angle(boxes)) ** 2
    trade_off = tf.stop_gradient(tf.math.divide_no_nan(aspect, 1 - iou + aspect))
    return iou - distance - trade_off * aspect


def box_areas(boxes: tf.Tensor) -> tf.Tensor:
    """Areas of boxes [..., 4]: float32 [...] in square pixels, 0 for boxes turned inside out."""
    sides = tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    return sides[..., 0] * sides[..., 1]


def common_areas(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Areas of what boxes [..., 4] share with others [..., 4], broadcast: float32 [...] in square pixels."""
    low, high = tf.maximum(boxes[..., :2], others[..., :2]), tf.minimum(boxes[..., 2:], others[..., 2:])
    return box_areas(tf.concat([low, high], axis=-1))


def _overlap(boxes: tf.Tensor, others: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Areas of intersection and union, each [...]."""
    common = common_areas(boxes, others)
    return common, box_areas(boxes) + box_areas(others) - common


def _hull(boxes: tf.Tensor, others: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width of the smallest box around both, each [...]."""
    low, high = tf.minimum(boxes[..., :2], others[..., :2]), tf.maximum(boxes[..., 2:], others[..., 2:])
    sides = high - low
    return sides[..., 0], sides[..., 1]


def _angle(boxes: tf.Tensor) -> tf.Tensor:
    """Angle whose tangent is width over height, [...] in radians."""
    # atan2 has no gradient at (0, 0).
    sides = tf.maximum(boxes[..., 2:] - boxes[..., :2], SMALLEST_SIDE)
    return tf.math.atan2(sides[..., 1], sides[..., 0])
