"""Rows for suppression and for sets of indices: static shapes, and builtin ops only."""

from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError
from stages.core.substituting.empty_boxes import separate_empty
from stages.core.substituting.values import (
    Size,
    Value,
    bounds,
    gather_axis,
    of_symbols,
    order_of,
    padded,
    smaller,
    take_first,
    valid_entries,
)
from stages.core.substituting.walker import Rule, Walker

MOST_COMPARED = 2**26
"""Pairs beyond which comparing all with all is refused (64 MB of truth values)."""


class RowIndices(Value):
    """`indices` of a sparse tensor with one row, filled from the left: the dense row is its values."""


def suppress_boxes(
    boxes: Any, scores: Any, mask: Any, *, most: int, iou_threshold: Any, score_threshold: Any
) -> tuple[Any, Any]:
    """Greedy suppression as TensorFlow's kernel does it, in one op that all runtimes have.

    The op is fed ranks: runtimes order equal scores differently, while every top-k puts the lower index first. TFLite
    suppresses at the threshold, TensorFlow above it: the next greater float is the same bound for both. Boxes without
    area, such as those clipped at a border, are moved away (`separate_empty`).

    Args:
      boxes: float32 [N, 4]. scores: float32 [N]. mask: bool [N] which of them count, or None.
      most: How many to keep.
      iou_threshold, score_threshold: Value or tensor, float32 [].

    Returns:
      int32 [min(most, N)] indices, best first (those behind the number are in range); int32 [] number.
    """
    number = int(boxes.shape[0])
    most = min(most, number)
    boxes, scores = tf.cast(boxes, tf.float32), tf.cast(scores, tf.float32)
    eligible = scores > tf.cast(score_threshold, tf.float32)
    eligible = eligible if mask is None else tf.logical_and(eligible, mask)
    order = tf.math.top_k(tf.where(eligible, scores, tf.float32.min), k=number).indices
    ranks = tf.range(float(number), 0.0, -1.0) * tf.cast(tf.gather(eligible, order), tf.float32)
    if isinstance(iou_threshold, np.ndarray | float):
        above = np.nextafter(np.float32(iou_threshold), np.float32(2), dtype=np.float32)
        # At more than 1, TFLite's kernel would not suppress a box by itself once it is taken.
        iou_threshold = min(above, np.float32(1))
    chosen, found = tf.raw_ops.NonMaxSuppressionV4(
        boxes=tf.gather(separate_empty(boxes), order),
        scores=ranks,
        max_output_size=most,
        iou_threshold=iou_threshold,
        score_threshold=0.5,
        pad_to_max_output_size=True,
    )
    return tf.gather(order, tf.clip_by_value(chosen, 0, number - 1)), found


def suppress(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """NonMaxSuppression, V2, V3 and V4, which all suppress whole boxes."""
    boxes, scores, wanted = inputs[:3]
    limit = wanted.content
    if limit is None:
        raise ArtifactError("max_output_size depends on the image's content")
    if node.op == "NonMaxSuppression":
        iou: Any = np.float32(node.attr["iou_threshold"].f)
        iou = np.asarray(iou)
    else:
        iou = inputs[3].raw if inputs[3].known else walker.tensor(inputs[3])
    score = walker.tensor(inputs[4]) if len(inputs) > 4 else tf.float32.min
    most = bounds(limit.item())[1]
    chosen, found = suppress_boxes(
        walker.tensor(boxes),
        walker.tensor(scores),
        valid_entries(boxes) if boxes.padded else None,
        most=most,
        iou_threshold=iou,
        score_threshold=score,
    )
    capacity = int(chosen.shape[0])
    size: Any = Size(_count(found, capacity))
    if isinstance(limit.item(), Size):
        size = smaller(size, limit.item())
    if node.attr["pad_to_max_output_size"].b:
        if capacity < most:
            chosen = tf.pad(chosen, [[0, most - capacity]])
        counts = tf.range(most) < found
        return [Value(raw=tf.where(counts, chosen, 0), limit=boxes.shape[0]), Value(raw=found)]
    valid = of_symbols(size)
    return [padded(chosen, 0, size, limit=boxes.shape[0]), valid]


def _count(found: Any, most: int) -> Any:
    from stages.core.substituting.values import Count

    return Count(found, most)


def suppress_softly(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """NonMaxSuppressionV5: a builtin op; without a deviation it is V4 with the scores beside."""
    boxes, scores, wanted, iou, score, sigma = inputs
    if not sigma.known:
        raise ArtifactError("soft_nms_sigma depends on the image's content")
    if float(sigma.raw) == 0.0:
        found = suppress(walker, node, inputs[:5])
        assert found is not None
        picked = tf.gather(walker.tensor(scores), walker.tensor(found[0]))
        if found[0].padded:
            return [found[0], Value(raw=picked, axis=0, size=found[0].size), found[1]]
        counts = tf.range(int(picked.shape[0])) < found[1].tensor
        return [found[0], Value(raw=tf.where(counts, picked, 0.0)), found[1]]
    if wanted.content is None or boxes.padded:
        raise ArtifactError("soft suppression of a list whose length the image decides")
    most = min(bounds(wanted.content.item())[1], boxes.shape[0])
    raw, kept, number = tf.raw_ops.NonMaxSuppressionV5(
        boxes=separate_empty(walker.tensor(boxes)),
        scores=walker.tensor(scores),
        max_output_size=most,
        iou_threshold=walker.tensor(iou),
        score_threshold=walker.tensor(score),
        soft_nms_sigma=walker.tensor(sigma),
        pad_to_max_output_size=True,
    )
    if node.attr["pad_to_max_output_size"].b:
        return [Value(raw=raw), Value(raw=kept), Value(raw=number)]
    size = Size(_count(number, most))
    positions = tf.clip_by_value(raw, 0, boxes.shape[0] - 1)
    return [padded(positions, 0, size), padded(kept, 0, size), of_symbols(size)]


def suppress_combined(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """CombinedNonMaxSuppression: one suppression for each image and class, then the best of all."""
    boxes, scores = inputs[:2]
    per_class, total, iou, score = inputs[2:]
    if not (per_class.known and total.known):
        raise ArtifactError("its number of outputs depends on the image's content")
    images, number, shared = boxes.shape[:3]
    classes = scores.shape[2]
    each, most = min(int(per_class.raw), number), int(total.raw)
    if node.attr["pad_per_class"].b:
        most = min(most, int(per_class.raw) * classes)
    raw_boxes, raw_scores = walker.tensor(boxes), walker.tensor(scores)
    results = []
    for image in range(images):
        found: list[tuple[Any, Any, Any]] = []
        for label in range(classes):
            own = raw_boxes[image, :, 0 if shared == 1 else label]
            rated = raw_scores[image, :, label]
            chosen, count = suppress_boxes(
                own,
                rated,
                None,
                most=each,
                iou_threshold=iou.raw if iou.known else walker.tensor(iou),
                score_threshold=walker.tensor(score),
            )
            counts = tf.range(each) < count
            found.append((tf.gather(own, chosen), tf.where(counts, tf.gather(rated, chosen), tf.float32.min), count))
        results.append(_best_of(found, most, clip=node.attr["clip_boxes"].b))
    return [Value(raw=tf.stack(column)) for column in zip(*results, strict=True)]


def _best_of(found: list[tuple[Any, Any, Any]], most: int, *, clip: bool) -> tuple[Any, Any, Any, Any]:
    boxes, scores, counts = (list(column) for column in zip(*found, strict=True))
    labels = np.repeat(np.arange(len(found), dtype=np.float32), int(scores[0].shape[0]))
    all_scores = tf.concat(scores, 0)
    kept = min(most, int(all_scores.shape[0]))
    best, order = tf.math.top_k(all_scores, k=kept)
    number = tf.minimum(tf.add_n(counts), kept)
    valid = tf.range(kept) < number
    picked = tf.gather(tf.concat(boxes, 0), order)
    picked = tf.clip_by_value(picked, 0.0, 1.0) if clip else picked
    rows = [
        tf.where(valid[:, tf.newaxis], picked, 0.0),
        tf.where(valid, best, 0.0),
        tf.where(valid, tf.gather(tf.constant(labels), order), 0.0),
    ]
    wide = [tf.pad(row, [[0, most - kept]] + [[0, 0]] * (len(row.shape) - 1)) if most > kept else row for row in rows]
    return wide[0], wide[1], wide[2], number


def find_unique(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """Unique: all compared with all; the first of each value stays, in the order of the list."""
    del node
    value = inputs[0]
    raw, number = walker.tensor(value), value.shape[0]
    first, same = _first_of_each(raw, valid_entries(value) if value.padded else None, number)
    order, size = order_of(first, value.limit)
    ranks = tf.cumsum(tf.cast(first, tf.int32)) - 1
    earliest = tf.argmax(tf.cast(same, tf.float32), axis=1, output_type=tf.int32)
    positions = tf.gather(ranks, earliest)
    where = Value(raw=positions, axis=value.axis, size=value.size, limit=value.limit)
    return [padded(gather_axis(raw, order), 0, size, limit=value.limit), where]


def _first_of_each(raw: Any, mask: Any, number: int) -> tuple[Any, Any]:
    """bool [N] whether no earlier entry has the value; bool [N, N] which entries are the same."""
    if number * number > MOST_COMPARED:
        raise ArtifactError(f"{number} numbers compared with each other")
    same = tf.equal(raw[:, tf.newaxis], raw[tf.newaxis, :])
    same = same if mask is None else tf.logical_and(same, mask[tf.newaxis, :])
    earlier = tf.constant(np.tril(np.ones([number, number], bool), -1))
    first = tf.logical_not(tf.reduce_any(tf.logical_and(same, earlier), axis=1))
    return (first if mask is None else tf.logical_and(first, mask)), same


def combine_sets(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """DenseToDenseSetOperation on one row each: all compared with all, sorted by one top-k."""
    kind = node.attr["set_operation"].s.decode()
    rows = [_row(walker, value) for value in inputs]
    if kind == "b-a":
        rows = rows[::-1]
    (one, mask), (other, other_mask) = rows
    if kind not in ("intersection", "a-b", "b-a", "union"):
        raise ArtifactError(f"set operation {kind!r}; known: intersection, a-b, b-a, union")
    if kind == "union":
        one, mask = tf.concat([one, other], 0), tf.concat([mask, other_mask], 0)
    number = int(one.shape[0])
    keep, _ = _first_of_each(one, mask, number)
    if kind != "union":
        if number * int(other.shape[0]) > MOST_COMPARED:
            raise ArtifactError(f"sets of up to {number} and {other.shape[0]} numbers")
        pairs = tf.logical_and(tf.equal(one[:, tf.newaxis], other[tf.newaxis, :]), other_mask[tf.newaxis, :])
        member = tf.reduce_any(pairs, axis=1)
        keep = tf.logical_and(keep, member if kind == "intersection" else tf.logical_not(member))
    ranks = tf.where(keep, -tf.cast(one, tf.int32), tf.int32.min)
    order = tf.math.top_k(ranks, k=number).indices
    most = number if kind != "intersection" else min(number, int(other.shape[0]))
    size = Size(_count(tf.reduce_sum(tf.cast(keep, tf.int32)), most))
    values = take_first(tf.gather(one, order), 0, most)
    limits = [value.limit for value in inputs]
    limit = None if None in limits else max(limits)  # type: ignore[type-var]
    columns = tf.range(most, dtype=tf.int64)
    positions = tf.stack([tf.zeros_like(columns), columns], axis=1)
    return [
        RowIndices(raw=positions, axis=0, size=size),
        Value(raw=values, axis=0, size=size, limit=limit),
        of_symbols([1, size], np.int64),
    ]


def _row(walker: Walker, value: Value) -> tuple[Any, Any]:
    """Numbers [N] of a set, and which of them count."""
    *rows, number = value.shape
    if any(length != 1 for length in rows) or (value.padded and value.axis != len(rows)):
        raise ArtifactError(f"sets in {value.shape}, expected one row: several rows have several lengths")
    raw = tf.reshape(walker.tensor(value), [number])
    return raw, (valid_entries(value) if value.padded else tf.ones([number], tf.bool))


def fill_row(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """SparseToDense of one row that is filled from the left."""
    del node
    positions, _, values = inputs[:3]
    if not isinstance(positions, RowIndices):
        return None
    raw = tf.expand_dims(walker.tensor(values), 0)
    return [Value(raw=raw, axis=1, size=values.size, limit=values.limit)]


RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(("NonMaxSuppression", *(f"NonMaxSuppressionV{number}" for number in (2, 3, 4))), (suppress,)),
    "NonMaxSuppressionV5": (suppress_softly,),
    "CombinedNonMaxSuppression": (suppress_combined,),
    "Unique": (find_unique,),
    "DenseToDenseSetOperation": (combine_sets,),
    "SparseToDense": (fill_row,),
}
