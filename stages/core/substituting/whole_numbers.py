"""Rows for whole numbers that only describe shapes: computed while rewriting, with lengths in them or not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.substituting.values import Size, Value, bounds, constant, larger, of_symbols, padded, smaller
from stages.core.substituting.walker import Rule, Walker, read_attribute


def fold_shape(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """Shape: a constant, but for lengths that the image decides."""
    del walker
    return [of_symbols(inputs[0].lengths, read_attribute(node.attr["out_type"]).as_numpy_dtype)]


def fold_size(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """Size: the product of the lengths."""
    del walker, node
    return [of_symbols(_product(inputs[0].lengths))]


def fold_rank(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """Rank: a constant."""
    del walker, node
    return [constant(len(inputs[0].shape), np.int32)]


def _product(lengths: Any) -> Any:
    total: Any = 1
    for length in lengths:
        total = total * length
    return total


def _compare(first: Any, second: Any) -> bool | None:
    """Whether first < second, where the bounds decide."""
    (least, most), (other_least, other_most) = bounds(first), bounds(second)
    if most < other_least:
        return True
    return False if least >= other_most else None


def slice_entries(node: Any, begin: Any, end: Any, strides: Any) -> tuple[Any, ...]:
    """The Python index that a StridedSlice stands for."""
    masks = {name: int(node.attr[f"{name}_mask"].i) for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    entries: list[Any] = []
    for position in range(len(begin)):
        bit = 1 << position
        if masks["ellipsis"] & bit:
            entries.append(Ellipsis)
        elif masks["new_axis"] & bit:
            entries.append(None)
        elif masks["shrink_axis"] & bit:
            entries.append(begin[position])
        else:
            first = None if masks["begin"] & bit else begin[position]
            last = None if masks["end"] & bit else end[position]
            entries.append(slice(first, last, int(strides[position])))
    return tuple(entries)


def _each(function: Callable[[Any, Any], Any]) -> Callable[[Any, list[np.ndarray]], Any]:
    return lambda _, parts: np.frompyfunc(function, 2, 1)(*parts)


def _slice(node: Any, parts: list[np.ndarray]) -> Any:
    return parts[0][slice_entries(node, parts[1].tolist(), parts[2].tolist(), parts[3].tolist())]


def _gather(node: Any, parts: list[np.ndarray]) -> Any:
    del node
    return np.take(parts[0], parts[1].astype(int), axis=int(parts[2]) if len(parts) > 2 else 0)


SYMBOLIC: dict[str, Callable[[Any, list[np.ndarray]], Any]] = {
    "Add": _each(lambda a, b: a + b),
    "AddV2": _each(lambda a, b: a + b),
    "Sub": _each(lambda a, b: a - b),
    "Mul": _each(lambda a, b: a * b),
    "Minimum": _each(smaller),
    "Maximum": _each(larger),
    "Cast": lambda _, parts: parts[0],
    "Identity": lambda _, parts: parts[0],
    "ExpandDims": lambda _, parts: np.expand_dims(parts[0], int(parts[1])),
    "Squeeze": lambda _, parts: np.squeeze(parts[0]),
    "Reshape": lambda _, parts: np.reshape(parts[0], parts[1].astype(int)),
    "Pack": lambda node, parts: np.stack(parts, axis=int(node.attr["axis"].i)),
    "ConcatV2": lambda _, parts: np.concatenate(parts[:-1], axis=int(parts[-1])),
    "StridedSlice": _slice,
    "GatherV2": _gather,
    "Prod": lambda _, parts: np.asarray(_product(parts[0].flat), object),
}
"""Op to how it works on object arrays; whatever is not here is computed when the model runs."""


def fold_symbols(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Arithmetic on shapes in which lengths occur."""
    del walker
    if not any(value.symbols is not None for value in inputs):
        return None
    parts = [value.content for value in inputs]
    if any(part is None for part in parts):
        return None
    dtype = read_attribute(node.attr["DstT"]) if node.op == "Cast" else tf.int32
    if not dtype.is_integer:
        return None
    return [of_symbols(SYMBOLIC[node.op](node, parts), dtype.as_numpy_dtype)]  # type: ignore[arg-type]


def fold_comparison(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Less, Greater and the like between lengths, where their bounds decide."""
    if not any(value.symbols is not None for value in inputs):
        return None
    first, second = (value.content for value in inputs)
    if first is None or second is None or first.ndim or second.ndim:
        return None
    one, other = first.item(), second.item()
    known = {
        "Less": lambda: _compare(one, other),
        "Greater": lambda: _compare(other, one),
        "GreaterEqual": lambda: _negate(_compare(one, other)),
        "LessEqual": lambda: _negate(_compare(other, one)),
    }[node.op]()
    if known is not None:
        return [constant(known)]
    tensors = [walker.tensor(value) for value in inputs]
    return [Value(raw=getattr(tf.raw_ops, node.op)(x=tensors[0], y=tensors[1]))]


def _negate(known: bool | None) -> bool | None:
    return None if known is None else not known


def fold_and(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """LogicalAnd, decided by one known side."""
    del walker, node
    for value, other in (inputs, inputs[::-1]):
        if value.known and value.raw.ndim == 0:
            return [other] if bool(value.raw) else [constant(False)]
    return None


def fill_range(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Range from 0 to a length: all numbers up to the greatest length."""
    del walker
    start, stop, step = (value.content for value in inputs)
    if start is None or stop is None or step is None or not isinstance(stop.item(), Size):
        return None
    if start.item() != 0 or step.item() != 1:
        return None
    size, dtype = stop.item(), read_attribute(node.attr["Tidx"])
    return [padded(tf.range(size.most, dtype=dtype), 0, size, limit=size.most)]


def fill_shape(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Fill: of a static shape a constant of it, else the greatest one."""
    del node
    lengths = inputs[0].content
    if lengths is None:
        return None
    axes = [axis for axis, length in enumerate(lengths) if isinstance(length, Size)]
    if len(axes) != 1:
        return None
    raw = tf.fill([bounds(length)[1] for length in lengths], walker.tensor(inputs[1]))
    return [padded(raw, axes[0], lengths[axes[0]])]


def pass_on(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """Ops that hand their input on in inference."""
    del walker, node
    return [inputs[0]]


RULES: dict[str, tuple[Rule, ...]] = {
    "Shape": (fold_shape,),
    "Size": (fold_size,),
    "Rank": (fold_rank,),
    "Range": (fill_range,),
    "Fill": (fill_shape,),
    "LogicalAnd": (fold_and,),
    **dict.fromkeys(SYMBOLIC, (fold_symbols,)),
    **dict.fromkeys(("Less", "LessEqual", "Greater", "GreaterEqual"), (fold_comparison,)),
    **dict.fromkeys(
        ("Identity", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot", "EnsureShape"), (pass_on,)
    ),
}
