"""THE TABLE of assigners, and those that look at anchors and objects alone: which anchor learns which object.

These run in the input pipeline, one image at a time. Their result is, per anchor, the index of an object, `NEGATIVE` or
`IGNORED`. Boxes are float32 [..., 4], [y_min, x_min, y_max, x_max] in input pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from official.vision.ops import iou_similarity

from stages.core.training.losses.boxes import paired_iou
from stages.core.training.losses.claims import winning_claims
from stages.core.training.losses.task_aligned import assign_task_aligned

NEGATIVE, IGNORED = -1, -2


@dataclass(frozen=True, kw_only=True)
class Assigner:
    """One way to choose the anchors of an object.

    Attributes:
      function: In the pipeline: (anchors per level, boxes [N, 4]) to int32 [A]. In the step: `assign_task_aligned`.
      needs_predictions: Whether it runs in the training step, on what the model predicts.
      summary: One line for `--help` and docs.
      source: Paper, or where the implementation comes from.
    """

    function: Callable[..., Any]
    needs_predictions: bool
    summary: str
    source: str


def assign_nothing(anchor_boxes: Mapping[str, tf.Tensor], boxes: tf.Tensor) -> tf.Tensor:
    """No object for any anchor, int32 [A]: for the pipeline where the training step assigns."""
    anchors = sum(level.shape[0] * level.shape[1] * level.shape[2] // 4 for level in anchor_boxes.values())
    return tf.fill([anchors], NEGATIVE)


def assign_by_iou(
    anchor_boxes: Mapping[str, tf.Tensor], boxes: tf.Tensor, *, positive_iou: float = 0.5, negative_iou: float = 0.5
) -> tf.Tensor:
    """RetinaNet's rule (Lin et al., ICCV 2017), with the same result as Model Garden's `AnchorLabeler`.

    An anchor learns the object that it overlaps most, if by `positive_iou` or more. Each object also gets its best
    anchor, however bad; of two objects with the same best anchor, the first.

    Args:
      anchor_boxes: Per level float32 [h, w, anchors * 4].
      boxes: float32 [N, 4]; N may be 0.
      negative_iou: Anchors between this and `positive_iou` are ignored.

    Returns:
      int32 [A], levels in the order of `anchor_boxes`: index of an object, NEGATIVE or IGNORED.
    """
    anchors = tf.concat([tf.reshape(level, [-1, 4]) for level in anchor_boxes.values()], axis=0)
    overlaps = iou_similarity.iou(boxes, anchors)  # [N, A]: Model Garden's own numbers, for the same answer at ties
    # A row that never wins stands in where there is no object: argmax needs one.
    padded = tf.concat([overlaps, tf.fill([1, tf.shape(anchors)[0]], -1.0)], axis=0)
    nearest, overlap = tf.argmax(padded, axis=0, output_type=tf.int32), tf.reduce_max(padded, axis=0)
    assigned = tf.where(overlap >= positive_iou, nearest, tf.where(overlap >= negative_iou, IGNORED, NEGATIVE))
    best_anchors = tf.argmax(overlaps, axis=1, output_type=tf.int32)
    return _force(assigned, best_anchors, tf.range(tf.shape(boxes)[0]))


def assign_atss(anchor_boxes: Mapping[str, tf.Tensor], boxes: tf.Tensor, *, cells: int = 9) -> tf.Tensor:
    """Adaptive training sample selection (Zhang et al., CVPR 2020).

    Candidates of an object are, on each level, the anchors of the `cells` cells whose centres are nearest to its own:
    with several anchors per cell all of them, as in the authors' code. Those whose IoU is at least the candidates' mean
    plus standard deviation, and whose centre is inside the object, learn it; one that several objects want learns the
    one that it overlaps most. An object left with none gets its best candidate, one that is still free if there is any;
    of two such objects with the same candidate, the first.

    Args:
      anchor_boxes: Per level float32 [h, w, anchors * 4]; the anchors of a cell share their centre.
      boxes: float32 [N, 4]; N may be 0.

    Returns:
      int32 [A], levels in the order of `anchor_boxes`: index of an object or NEGATIVE.
    """
    anchors = tf.concat([tf.reshape(level, [-1, 4]) for level in anchor_boxes.values()], axis=0)
    candidates = _nearest_anchors(anchor_boxes, boxes, cells)  # [N, K]
    candidate_boxes = tf.gather(anchors, candidates)
    overlaps = paired_iou(candidate_boxes, boxes[:, None])
    limits = tf.reduce_mean(overlaps, axis=1) + tf.math.reduce_std(overlaps, axis=1)
    centers = 0.5 * (candidate_boxes[..., :2] + candidate_boxes[..., 2:])
    is_inside = tf.reduce_all((centers > boxes[:, None, :2]) & (centers < boxes[:, None, 2:]), axis=-1)
    chosen = tf.where((overlaps >= limits[:, None]) & is_inside & (overlaps > 0))
    objects, chosen_anchors = tf.cast(chosen[:, 0], tf.int32), tf.gather_nd(candidates, chosen)
    wins = winning_claims(chosen_anchors, objects, tf.gather_nd(overlaps, chosen), tf.shape(anchors)[0])
    assigned = tf.fill([tf.shape(anchors)[0]], NEGATIVE)
    assigned = _force(assigned, tf.boolean_mask(chosen_anchors, wins), tf.boolean_mask(objects, wins))

    indices = tf.range(tf.shape(boxes)[0])
    is_left = ~tf.reduce_any(tf.gather(assigned, candidates) == indices[:, None], axis=1)
    is_free = tf.gather(assigned, candidates) < 0
    best = tf.argmax(tf.where(is_free, overlaps, overlaps - 2.0), axis=1, output_type=tf.int32)
    best_anchors = tf.gather(candidates, best, batch_dims=1)
    return _force(assigned, tf.boolean_mask(best_anchors, is_left), tf.boolean_mask(indices, is_left))


def _nearest_anchors(anchor_boxes: Mapping[str, tf.Tensor], boxes: tf.Tensor, cells: int) -> tf.Tensor:
    """Indices of the anchors in the cells nearest to each object, of all levels: int32 [N, K]."""
    centers = 0.5 * (boxes[:, :2] + boxes[:, 2:])
    found, start = [], 0
    for level in anchor_boxes.values():
        height, width, numbers = level.shape
        per_cell = numbers // 4
        first = tf.reshape(level, [-1, per_cell, 4])[:, 0]
        distances = tf.reduce_sum((centers[:, None] - 0.5 * (first[:, :2] + first[:, 2:])) ** 2, axis=-1)
        nearest = tf.math.top_k(-distances, k=min(cells, height * width), sorted=False).indices
        members = start + nearest[..., None] * per_cell + tf.range(per_cell)
        found.append(tf.reshape(members, [-1, members.shape[1] * per_cell]))
        start += height * width * per_cell
    return tf.concat(found, axis=1)


def _force(assigned: tf.Tensor, anchors: tf.Tensor, objects: tf.Tensor) -> tf.Tensor:
    """`assigned` [A] with S anchors given to S objects; of several objects the first."""
    none = tf.int32.max
    first = tf.tensor_scatter_nd_min(tf.fill(tf.shape(assigned), none), anchors[:, None], objects)
    return tf.where(first < none, first, assigned)


ASSIGNERS: dict[str, Assigner] = {
    "iou": Assigner(
        function=assign_by_iou,
        needs_predictions=False,
        summary="anchors that overlap an object by IoU 0.5, and each object's best anchor",
        source="Lin et al., ICCV 2017; official.vision.ops.anchor.AnchorLabeler",
    ),
    "atss": Assigner(
        function=assign_atss,
        needs_predictions=False,
        summary="the nearest anchors that overlap an object better than most of them, whatever its size",
        source="Zhang et al., ATSS, CVPR 2020",
    ),
    "task_aligned": Assigner(
        function=assign_task_aligned,
        needs_predictions=True,
        summary="the anchors inside an object that predict its class and its box best",
        source="Feng et al., TOOD, ICCV 2021",
    ),
}
