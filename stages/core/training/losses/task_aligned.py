"""Task-aligned assignment (Feng et al., "TOOD", ICCV 2021): anchors learn what they predict best already.

It looks at predictions, and so runs in the training step. Work is done on pairs of an object and an anchor inside it,
image by image: all objects by all anchors would be a hundred times as many, for nothing.
"""

import functools

import tensorflow as tf

from stages.core.training.losses.boxes import box_areas, paired_iou
from stages.core.training.losses.claims import winning_claims

TOP = 13
ALPHA, BETA = 1.0, 6.0
"""The paper's choices."""


def assign_task_aligned(
    logits: tf.Tensor,
    predicted: tf.Tensor,
    anchors: tf.Tensor,
    gt_boxes: tf.Tensor,
    gt_classes: tf.Tensor,
    *,
    anchors_per_cell: int = 1,
    top: int = TOP,
    alpha: float = ALPHA,
    beta: float = BETA,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Object and soft target of every anchor in a batch; no gradient passes.

    An object's candidates are the anchors whose centre is inside it; one that lies between the centres has those of the
    nearest cell. The `top` with the highest alignment, score^alpha * IoU^beta of score and box as predicted, learn it;
    one that several objects want learns the one whose box it predicts best. Targets are alignments, scaled so that the
    highest of an object equals the highest IoU among its anchors.

    Args:
      logits: float32 [B, A, C].
      predicted: float32 [B, A, 4], decoded boxes.
      anchors: float32 [A, 4], the same for all images.
      gt_boxes: float32 [B, N, 4] in input pixels, padded with -1.
      gt_classes: int [B, N], 0..C-1, padded with -1.
      anchors_per_cell: So many consecutive anchors share a centre.

    Returns:
      int32 [B, A], index into the N objects, -1 for negatives; float32 [B, A], 0..1, 0 for negatives.
    """
    first = anchors[::anchors_per_cell]
    assign = functools.partial(
        _assign_in_image,
        centers=0.5 * (first[:, :2] + first[:, 2:]),
        anchors_per_cell=anchors_per_cell,
        top=top,
        alpha=alpha,
        beta=beta,
    )
    num_anchors = anchors.shape[0]
    images = (tf.stop_gradient(logits), tf.stop_gradient(predicted), gt_boxes, tf.cast(gt_classes, tf.int32))
    assigned, targets = tf.map_fn(
        lambda image: assign(*image),
        images,
        fn_output_signature=(tf.TensorSpec([num_anchors], tf.int32), tf.TensorSpec([num_anchors], tf.float32)),
    )
    return tf.stop_gradient(assigned), tf.stop_gradient(targets)


def _assign_in_image(
    logits: tf.Tensor,
    predicted: tf.Tensor,
    gt_boxes: tf.Tensor,
    gt_classes: tf.Tensor,
    *,
    centers: tf.Tensor,
    anchors_per_cell: int,
    top: int,
    alpha: float,
    beta: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """`assign_task_aligned` for one image; `centers` are the cells', float32 [cells, 2]."""
    real = tf.where((gt_classes >= 0) & (box_areas(gt_boxes) > 0))[:, 0]
    boxes, classes = tf.gather(gt_boxes, real), tf.gather(gt_classes, real)
    is_candidate = _candidate_cells(boxes, centers)  # [n, cells]
    pairs = tf.where(is_candidate)  # object by object
    objects = tf.repeat(pairs[:, 0], anchors_per_cell)
    anchors = tf.reshape(pairs[:, 1:] * anchors_per_cell + tf.range(anchors_per_cell, dtype=tf.int64), [-1])
    overlaps = paired_iou(tf.gather(predicted, anchors), tf.gather(boxes, objects))
    scores = tf.sigmoid(tf.gather_nd(logits, tf.stack([tf.cast(anchors, tf.int32), tf.gather(classes, objects)], 1)))
    alignments = _power(scores, alpha) * _power(overlaps, beta)

    sizes = tf.math.count_nonzero(is_candidate, axis=1) * anchors_per_cell
    best = _best_of_each(alignments, sizes, top)
    objects, anchors, overlaps, alignments = (
        tf.gather(values, best) for values in (objects, anchors, overlaps, alignments)
    )
    wins = winning_claims(anchors, objects, overlaps, num_anchors=tf.shape(predicted)[0])
    objects, anchors, overlaps, alignments = (
        tf.boolean_mask(values, wins) for values in (objects, anchors, overlaps, alignments)
    )
    num_objects = tf.shape(boxes)[0]
    highest = tf.gather(tf.math.unsorted_segment_max(alignments, objects, num_objects), objects)
    best_overlap = tf.gather(tf.math.unsorted_segment_max(overlaps, objects, num_objects), objects)
    targets = tf.math.divide_no_nan(alignments, highest) * best_overlap

    nothing = tf.fill([tf.shape(predicted)[0]], -1)
    rows = tf.cast(tf.gather(real, objects), tf.int32)
    return (
        tf.tensor_scatter_nd_update(nothing, anchors[:, None], rows),
        tf.tensor_scatter_nd_update(tf.zeros_like(nothing, tf.float32), anchors[:, None], targets),
    )


def _candidate_cells(boxes: tf.Tensor, centers: tf.Tensor) -> tf.Tensor:
    """bool [n, cells]: centres [cells, 2] that are inside boxes [n, 4], or the nearest to a box that holds none."""
    # One coordinate at a time: reducing over an axis of two costs ten times as much.
    y, x = centers[:, 0], centers[:, 1]
    y_min, x_min, y_max, x_max = tf.split(boxes, 4, axis=1)
    is_inside = (y > y_min) & (y < y_max) & (x > x_min) & (x < x_max)
    distances = (y - 0.5 * (y_min + y_max)) ** 2 + (x - 0.5 * (x_min + x_max)) ** 2
    nearest = tf.one_hot(tf.argmin(distances, axis=1), tf.shape(centers)[0], on_value=True, off_value=False)
    return is_inside | (nearest & ~tf.reduce_any(is_inside, axis=1, keepdims=True))


def _power(values: tf.Tensor, exponent: float) -> tf.Tensor:
    if exponent == 1.0:
        return values
    # tf.pow is ten times slower, and 6 is the usual exponent.
    return tf.square(values * values * values) if exponent == 6.0 else tf.pow(values, exponent)


def _best_of_each(values: tf.Tensor, sizes: tf.Tensor, top: int) -> tf.Tensor:
    """Indices of the highest positive values in each of n consecutive groups, at most `top` of each: int64 [S]."""
    table = tf.RaggedTensor.from_row_lengths(values, sizes, validate=False).to_tensor(default_value=0.0)
    # Wide enough for top_k where every group is small.
    best = tf.math.top_k(tf.pad(table, [[0, 0], [0, top]]), k=top)
    indices = tf.math.cumsum(sizes, exclusive=True)[:, None] + tf.cast(best.indices, tf.int64)
    return tf.boolean_mask(indices, best.values > 0)
