"""Rows that change the shape of lists whose length the image decides."""

from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError
from stages.core.substituting.values import (
    Size,
    Value,
    concat_parts,
    gather_axis,
    padded,
    take_first,
)
from stages.core.substituting.walker import Rule, Walker, call_op


def reshape(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Reshape of a list, or to a shape that the graph computes: the new shape is a constant."""
    value, target = inputs[0], inputs[1].content
    if target is None:
        raise ArtifactError("a shape that depends on the image's content")
    if not value.padded and not any(isinstance(part, Size) for part in target):
        if value.known:
            return None
        lengths = _resolve(target.tolist(), int(np.prod(value.shape)))
        return [Value(raw=tf.reshape(walker.tensor(value), lengths), limit=value.limit)]
    if not value.padded or value.axis is None or value.size is None:
        raise ArtifactError("a static tensor as a list whose length the image decides")
    del node
    if any(length != 1 for length in value.shape[: value.axis]):
        raise ArtifactError("a list whose length the image decides, reshaped along another axis than its first")
    row = int(np.prod(value.shape[value.axis + 1 :]))
    wanted = target.tolist()
    free = [position for position, part in enumerate(wanted) if isinstance(part, Size) or part == -1]
    if not free:
        rows, rest = divmod(int(np.prod(wanted)), row)
        if rest or rows > value.shape[value.axis]:
            raise ArtifactError(f"up to {value.shape[value.axis]} entries of {row} numbers as {wanted}")
        return [Value(raw=tf.reshape(take_first(walker.tensor(value), value.axis, rows), wanted), limit=value.limit)]
    position = free[0]
    inner = int(np.prod(wanted[position + 1 :])) if len(free) == 1 else 0
    if not inner or any(part != 1 for part in wanted[:position]) or (row % inner and inner % row):
        raise ArtifactError(f"a list of entries of {row} numbers as {wanted}")
    if row % inner:
        raise ArtifactError(f"a list of entries of {row} numbers joined to entries of {inner}")
    factor = row // inner
    wanted[position] = value.shape[value.axis] * factor
    return [padded(tf.reshape(walker.tensor(value), wanted), position, value.size * factor, limit=value.limit)]


def _resolve(target: list[int], number: int) -> list[int]:
    rest = int(np.prod([part for part in target if part != -1]))
    return [number // rest if part == -1 else int(part) for part in target]


def expand(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """ExpandDims: the axis moves."""
    value = inputs[0]
    if (not value.padded and value.limit is None) or value.known:
        return None
    axis = int(inputs[1].raw)
    axis += len(value.shape) + 1 if axis < 0 else 0
    moved = None if value.axis is None else value.axis + (axis <= value.axis)
    del node
    return [Value(raw=tf.expand_dims(walker.tensor(value), axis), axis=moved, size=value.size, limit=value.limit)]


def squeeze(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Squeeze: the axis moves."""
    value = inputs[0]
    if not value.padded or value.axis is None:
        return None
    rank = len(value.shape)
    axes = [axis % rank for axis in node.attr["squeeze_dims"].list.i]
    axes = axes or [axis for axis, length in enumerate(value.shape) if length == 1 and axis != value.axis]
    moved = value.axis - sum(axis < value.axis for axis in axes)
    return [Value(raw=tf.squeeze(walker.tensor(value), axes), axis=moved, size=value.size, limit=value.limit)]


def transpose(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Transpose: the axis moves."""
    value = inputs[0]
    if not value.padded or not inputs[1].known:
        return None
    del node
    order = inputs[1].raw.tolist()
    return [Value(raw=tf.transpose(walker.tensor(value), order), axis=order.index(value.axis), size=value.size)]


def pack(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Pack: lists of one length side by side."""
    limits = {value.limit for value in inputs}
    sizes = {value.size.count: value for value in inputs if value.size is not None}
    if not sizes:
        return None
    first = next(iter(sizes.values()))
    if len(sizes) > 1 or any(value.axis != first.axis for value in inputs) or first.axis is None:
        raise ArtifactError("lists of different lengths packed into one tensor (several images with a list each?)")
    axis = int(node.attr["axis"].i)
    axis += len(first.shape) + 1 if axis < 0 else 0
    raw = tf.stack([walker.tensor(value) for value in inputs], axis=axis)
    limit = limits.pop() if len(limits) == 1 else None
    return [Value(raw=raw, axis=first.axis + (axis <= first.axis), size=first.size, limit=limit)]


def concat(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """ConcatV2: one list after the other, brought to the front."""
    *parts, position = inputs
    if not any(value.padded for value in parts):
        return None
    del node
    axis = int(position.raw)
    axis += len(parts[0].shape) if axis < 0 else 0
    raw = tf.concat([walker.tensor(part) for part in parts], axis=axis)
    if all(part.axis != axis for part in parts if part.padded):
        first = next(part for part in parts if part.padded)
        return [Value(raw=raw, axis=first.axis, size=first.size)]
    order, size = concat_parts(parts, axis)
    return [padded(gather_axis(raw, order, axis), axis, size)]


def split(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Split, SplitV and Unpack along another axis than the list's."""
    if not any(value.padded for value in inputs):
        return None
    value = inputs[1] if node.op == "Split" else inputs[0]
    results = call_op(node, [walker.tensor(item) for item in inputs])
    moved = value.axis
    if node.op == "Unpack":
        axis = int(node.attr["axis"].i) % len(value.shape)
        moved = value.axis - (axis < value.axis)  # type: ignore[operator]
    else:
        axis = int((inputs[0] if node.op == "Split" else inputs[2]).raw) % len(value.shape)
    if axis == value.axis:
        raise ArtifactError("a list whose length the image decides, split along it")
    return [Value(raw=result, axis=moved, size=value.size) for result in results]


def pad(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Pad and PadV2 of a list to a static length: what does not count becomes the padding's value."""
    value, paddings = inputs[0], inputs[1].content
    if not value.padded or value.axis is None or value.size is None or paddings is None:
        return None
    raw, (before, after) = walker.tensor(value), paddings[value.axis]
    length = value.size + after
    if before != 0 or isinstance(length, Size):
        raise ArtifactError("a list padded to a length that the image decides")
    others = [
        [0, max(0, length - value.shape[position])] if position == value.axis else [int(low), int(high)]
        for position, (low, high) in enumerate(paddings)
    ]
    fill = walker.tensor(inputs[2]) if node.op == "PadV2" else tf.zeros([], raw.dtype)
    raw = take_first(raw, value.axis, min(length, value.shape[value.axis]))
    wide = tf.pad(raw, others, constant_values=fill) if any(map(any, others)) else raw
    shape = [1] * len(wide.shape)
    shape[value.axis] = length
    counts = tf.reshape(tf.range(length) < value.size.tensor, shape)
    return [Value(raw=tf.where(counts, wide, fill))]


RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(("Split", "SplitV", "Unpack"), (split,)),
    "Reshape": (reshape,),
    "ExpandDims": (expand,),
    "Squeeze": (squeeze,),
    "Transpose": (transpose,),
    "Pack": (pack,),
    "ConcatV2": (concat,),
    "Pad": (pad,),
    "PadV2": (pad,),
}
