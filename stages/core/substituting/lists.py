"""Rows for lists whose length the image decides: the greatest length is computed, and the real one is carried along."""

from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError
from stages.core.substituting.values import (
    Size,
    Value,
    bounds,
    gather_axis,
    order_of,
    padded,
    smaller,
    take_first,
    valid_entries,
)
from stages.core.substituting.walker import Rule, Walker, call_op
from stages.core.substituting.whole_numbers import slice_entries

ELEMENTWISE = """
Abs Add AddV2 BiasAdd Cast Ceil ClipByValue Div DivNoNan Elu Equal Erf Exp Floor FloorDiv FloorMod Greater GreaterEqual
LeakyRelu Less LessEqual Log Log1p LogicalAnd LogicalNot LogicalOr Maximum Minimum Mod Mul Neg NotEqual OnesLike Pow
RealDiv Reciprocal Relu Relu6 Rint Round Rsqrt Select SelectV2 Selu Sigmoid Sign Softplus Sqrt Square SquaredDifference
Sub Tanh TruncateDiv ZerosLike
"""
ROW_BY_ROW = "Conv2D Conv2DBackpropInput DepthwiseConv2dNative FusedBatchNormV3 MatMul MaxPool AvgPool Softmax"
"""Ops that compute each entry of the first axis by itself."""
REDUCTIONS: dict[str, Any] = {"Sum": 0, "Prod": 1, "Any": False, "All": True, "Max": "min", "Min": "max", "Mean": None}
"""Op to what an entry that does not count is replaced with."""


def any_padded(inputs: list[Value]) -> bool:
    """Whether a length is unknown anywhere."""
    return any(value.padded for value in inputs)


def each_entry(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Elementwise: entries that do not count are computed for nothing."""
    if not any_padded(inputs):
        return None
    raws = [walker.tensor(value) for value in inputs]
    results = call_op(node, raws)
    rank = len(results[0].shape)
    sized = next(value for value in inputs if value.padded)
    assert sized.axis is not None
    axis = sized.axis if node.op == "BiasAdd" else rank - len(sized.shape) + sized.axis
    limit = inputs[0].limit if node.op == "Cast" else None
    return [Value(raw=results[0], axis=axis, size=sized.size, limit=limit)]


def keep_limit(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Cast of whole numbers whose bound is known."""
    if inputs[0].limit is None or inputs[0].padded or inputs[0].known:
        return None
    return [Value(raw=call_op(node, [walker.tensor(inputs[0])])[0], limit=inputs[0].limit)]


def each_row(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Layers over a list along the first axis."""
    if not inputs[0].padded or inputs[0].axis != 0 or any_padded(inputs[1:]):
        return None
    results = call_op(node, [walker.tensor(value) for value in inputs])
    return [Value(raw=results[0], axis=0, size=inputs[0].size), *(Value(raw=item) for item in results[1:])]


def slice_list(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """StridedSlice of a list, or up to a length."""
    value = inputs[0]
    begin, end, strides = (part.content for part in inputs[1:])
    if begin is None or end is None or strides is None:
        return None
    entries = list(slice_entries(node, begin.tolist(), end.tolist(), strides.tolist()))
    lengthy = any(isinstance(part, Size) for entry in entries if isinstance(entry, slice) for part in _ends(entry))
    if not value.padded and not lengthy:
        return _keep_limit_of_slice(walker, node, inputs)
    if Ellipsis in entries:
        missing = len(value.shape) - sum(entry is not None and entry is not Ellipsis for entry in entries)
        gap = entries.index(Ellipsis)
        entries[gap : gap + 1] = [slice(None)] * missing
    raw, size, axis = walker.tensor(value), value.size, value.axis
    source, target, out_axis = 0, 0, None
    for position, entry in enumerate(entries):
        if entry is None:
            target += 1
            continue
        if source == axis or (isinstance(entry, slice) and any(isinstance(part, Size) for part in _ends(entry))):
            if not isinstance(entry, slice):
                if int(entry) < 0:
                    raise ArtifactError("the last entry of a list whose length the image decides")
            else:
                raw, size = _slice_axis(raw, source, value.lengths[source], entry)
                out_axis = target
                entries[position] = slice(None)
        source += 1
        target += isinstance(entry, slice)
    if axis is not None and axis >= source:
        out_axis = target + axis - source
    kept = tuple(entries)
    result = raw[kept] if kept else raw
    if out_axis is None:
        return [Value(raw=result, limit=value.limit)]
    return [padded(result, out_axis, size, limit=value.limit)]  # type: ignore[arg-type]


def _keep_limit_of_slice(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    if inputs[0].limit is None or inputs[0].known:
        return None
    return [Value(raw=call_op(node, [walker.tensor(value) for value in inputs])[0], limit=inputs[0].limit)]


def _ends(entry: slice) -> tuple[Any, Any]:
    return entry.start, entry.stop


def _slice_axis(raw: Any, axis: int, length: Any, entry: slice) -> tuple[Any, Any]:
    """One axis cut; its new length."""
    if entry.step == -1 and entry.start is None and entry.stop is None:
        number = raw.shape[axis]
        last = length.tensor if isinstance(length, Size) else length
        indices = tf.maximum(last - 1 - tf.range(number), 0)
        return gather_axis(raw, indices, axis), length
    if entry.step not in (1, None) or (entry.start or 0) != 0:
        raise ArtifactError("a slice with a step or a start along a length that the image decides")
    if entry.stop is None:
        return raw, length
    stop = entry.stop
    if not isinstance(stop, Size) and stop < 0:
        stop = length + stop
    new = smaller(length, stop)
    return take_first(raw, axis, bounds(new)[1]), new


def gather(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """GatherV2: indices that do not count are brought into range."""
    params, indices = inputs[:2]
    if len(inputs) > 2 and not inputs[2].known:
        return None
    axis = int(inputs[2].raw) if len(inputs) > 2 else 0
    batch = int(node.attr["batch_dims"].i)
    if batch or (params.known and indices.known):
        return None
    axis += len(params.shape) if axis < 0 else 0
    if not any_padded(inputs) and params.limit is None:
        return None
    positions = walker.tensor(indices)
    if indices.padded:
        positions = tf.clip_by_value(positions, 0, params.shape[axis] - 1)
    raw = gather_axis(walker.tensor(params), positions, axis)
    if indices.padded:
        return [Value(raw=raw, axis=axis + indices.axis, size=indices.size, limit=params.limit)]  # type: ignore[operator]
    if params.padded and params.axis != axis:
        shift = len(indices.shape) - 1 if params.axis > axis else 0  # type: ignore[operator]
        return [Value(raw=raw, axis=params.axis + shift, size=params.size)]  # type: ignore[operator]
    return [Value(raw=raw, limit=params.limit)]


def gather_nd(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """GatherNd: indices that do not count are brought into range."""
    del node
    params, indices = inputs
    if params.padded or not (indices.padded or params.limit is not None):
        return None
    raw = walker.tensor(indices)
    if indices.padded:
        if indices.axis == len(indices.shape) - 1:
            return None
        last = np.asarray(params.shape[: indices.shape[-1]]) - 1
        raw = tf.clip_by_value(raw, tf.zeros([], raw.dtype), tf.constant(last, raw.dtype))
    found = tf.gather_nd(walker.tensor(params), raw)
    return [Value(raw=found, axis=indices.axis, size=indices.size, limit=params.limit)]


def find_where(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """Where: indices of what is true, by one top-k."""
    del node
    value = inputs[0]
    mask = walker.tensor(value)
    mask = mask if mask.dtype == tf.bool else tf.not_equal(mask, tf.zeros([], mask.dtype))
    if value.padded:
        shape = [1] * len(value.shape)
        shape[value.axis] = value.shape[value.axis]  # type: ignore[index]
        mask = tf.logical_and(mask, tf.reshape(valid_entries(value), shape))
    order, size = order_of(tf.reshape(mask, [-1]))
    columns: list[Any] = []
    left = order
    for length in reversed(value.shape[1:]):
        columns.insert(0, tf.math.floormod(left, length))
        left = tf.math.floordiv(left, length)
    columns.insert(0, left)
    positions = tf.cast(tf.stack(columns, axis=1), tf.int64)
    return [Value(raw=positions, axis=0, size=size, limit=max(value.shape))]


def best(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """TopKV2 of a list, or of as many entries as a length says: what does not count comes last."""
    value, wanted = inputs[0], inputs[1].content
    if wanted is None:
        raise ArtifactError("a number of entries that depends on the image's content in another way than by a length")
    number = wanted.item()
    if not value.padded and not isinstance(number, Size):
        return None
    del node
    raw = walker.tensor(value)
    rank = len(value.shape)
    if value.padded:
        if value.axis != rank - 1:
            raise ArtifactError("the best of several lists")
        raw = tf.where(valid_entries(value), raw, raw.dtype.min)
    found = tf.math.top_k(raw, k=min(bounds(number)[1], value.shape[-1]))
    parts = (found.values, found.indices)
    if isinstance(number, Size):
        return [Value(raw=part, axis=rank - 1, size=number) for part in parts]
    return [Value(raw=part) for part in parts]


def reduce(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Sums, maxima and the like."""
    value = inputs[0]
    if not value.padded or value.axis is None:
        return None
    raw, rank = walker.tensor(value), len(value.shape)
    axes = {int(axis) % rank for axis in np.reshape(inputs[1].raw, -1)}
    keep = node.attr["keep_dims"].b
    if value.axis not in axes:
        result = call_op(node, [raw, walker.tensor(inputs[1])])[0]
        moved = value.axis if keep else value.axis - sum(axis < value.axis for axis in axes)
        return [Value(raw=result, axis=moved, size=value.size)]
    neutral = REDUCTIONS[node.op]
    if neutral is None:
        return None
    neutral = getattr(raw.dtype, neutral) if isinstance(neutral, str) else neutral
    shape = [1] * rank
    shape[value.axis] = value.shape[value.axis]
    raw = tf.where(tf.reshape(valid_entries(value), shape), raw, tf.cast(neutral, raw.dtype))
    return [Value(raw=call_op(node, [raw, walker.tensor(inputs[1])])[0])]


def first_greatest(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """ArgMax: its values are below the number of entries."""
    value = inputs[0]
    if value.known or not inputs[1].known:
        return None
    axis = int(inputs[1].raw) % len(value.shape)
    if axis == value.axis:
        return None
    raw = call_op(node, [walker.tensor(value), walker.tensor(inputs[1])])[0]
    moved = None if value.axis is None else value.axis - (axis < value.axis)
    return [Value(raw=raw, axis=moved, size=value.size, limit=value.shape[axis])]


RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(ELEMENTWISE.split(), (each_entry,)),
    "Cast": (each_entry, keep_limit),
    **dict.fromkeys(ROW_BY_ROW.split(), (each_row,)),
    **dict.fromkeys(REDUCTIONS, (reduce,)),
    "StridedSlice": (slice_list,),
    "GatherV2": (gather,),
    "GatherNd": (gather_nd,),
    "Where": (find_where,),
    "TopKV2": (best,),
    "ArgMax": (first_greatest,),
}
