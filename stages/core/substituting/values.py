"""What is known of a tensor while a graph is rewritten: its value, or a length that only the image decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError


@dataclass(frozen=True, eq=False)
class Count:
    """How many entries a list has in one run: int32 [], from `least` to `most`.

    `derived` remembers what was computed from it, so that the same length computed twice is known to be the same.
    """

    tensor: Any
    most: int
    least: int = 0
    derived: dict[Any, "Size"] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Size:
    """A whole number that depends on one count: `offset + sign * count`."""

    count: Count
    sign: int = 1
    offset: int = 0

    @property
    def least(self) -> int:
        return self.offset + min(self.sign * self.count.least, self.sign * self.count.most)

    @property
    def most(self) -> int:
        return self.offset + max(self.sign * self.count.least, self.sign * self.count.most)

    @property
    def tensor(self) -> Any:
        return self.offset + self.sign * self.count.tensor

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, Size):
            return replace(self, offset=self.offset + int(other))
        if other.count is self.count:
            sign, offset = self.sign + other.sign, self.offset + other.offset
            if sign == 0:
                return offset
        return self._derive(
            ("sum", other.count, other.sign, other.offset),
            lambda: new_size(self.tensor + other.tensor, self.most + other.most, self.least + other.least),
        )

    __radd__ = __add__

    def __neg__(self) -> "Size":
        return Size(self.count, -self.sign, -self.offset)

    def __sub__(self, other: Any) -> Any:
        return self + (-other)

    def __rsub__(self, other: Any) -> Any:
        return (-self) + other

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Size) or int(other) < 0:
            raise ArtifactError("a product of two lengths that the image decides")
        factor = int(other)
        if factor in (0, 1):
            return self if factor else 0
        return self._derive(
            ("product", factor), lambda: new_size(self.tensor * factor, self.most * factor, self.least * factor)
        )

    __rmul__ = __mul__

    def _derive(self, how: Any, make: Callable[[], "Size"]) -> "Size":
        return self.count.derived.setdefault((self.sign, self.offset, how), make())


Length = int | Size


def new_size(tensor: Any, most: int, least: int = 0) -> Size:
    """A length that is computed when the model runs."""
    return Size(Count(tensor, most, least))


def smaller(first: Any, second: Any) -> Any:
    """The minimum of two lengths, as small a claim as their bounds allow."""
    return _pick(first, second, tf.minimum, min)


def larger(first: Any, second: Any) -> Any:
    """The maximum of two lengths."""
    return _pick(first, second, tf.maximum, max)


def _pick(first: Any, second: Any, emit: Any, choose: Any) -> Any:
    (low, high), (other_low, other_high) = bounds(first), bounds(second)
    if high <= other_low:
        return choose((first, 0), (second, 1), key=lambda pair: pair[1])[0]
    if other_high <= low:
        return choose((second, 0), (first, 1), key=lambda pair: pair[1])[0]
    if not isinstance(first, Size):
        first, second = second, first
    tensors = [part.tensor if isinstance(part, Size) else part for part in (first, second)]
    key = (second.count, second.sign, second.offset) if isinstance(second, Size) else int(second)
    return first._derive(
        (emit.__name__, key), lambda: new_size(emit(*tensors), choose(high, other_high), choose(low, other_low))
    )


def bounds(length: Any) -> tuple[int, int]:
    """(least, most) of a length."""
    return (length.least, length.most) if isinstance(length, Size) else (int(length), int(length))


@dataclass(frozen=True, eq=False, kw_only=True)
class Value:
    """One tensor of the rewritten graph.

    Attributes:
      raw: numpy array where it is known, else a tensor; None where only `symbols` are known yet.
      symbols: object array of int and `Size`, the shape of a whole-number tensor whose content depends on lengths.
      axis, size: Where the length along one axis depends on the image: that axis of `raw` has the greatest length, the
        first `size` entries count, and what follows means nothing. None: the shape is static.
      limit: Whole numbers: values are in 0..limit - 1, if known.
    """

    raw: Any = None
    symbols: np.ndarray | None = None
    axis: int | None = None
    size: Size | None = None
    limit: int | None = None

    @property
    def known(self) -> bool:
        return isinstance(self.raw, np.ndarray)

    @property
    def padded(self) -> bool:
        return self.size is not None

    @property
    def tensor(self) -> Any:
        """The tensor, emitted if it was known only in parts."""
        if self.raw is not None:
            return tf.constant(self.raw) if self.known else self.raw
        assert self.symbols is not None
        parts = [part.tensor if isinstance(part, Size) else tf.constant(part, tf.int32) for part in self.symbols.flat]
        return tf.reshape(tf.stack(parts), self.symbols.shape) if self.symbols.ndim else parts[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `raw`: the greatest one.

        Raises:
          ArtifactError: if it is not known.
        """
        if self.symbols is not None:
            return self.symbols.shape
        if self.known:
            return tuple(self.raw.shape)
        if not self.raw.shape.is_fully_defined():
            raise ArtifactError(f"{self.raw.name}: shape {self.raw.shape} cannot be fixed; state all inputs' shapes")
        return tuple(self.raw.shape.as_list())

    @property
    def lengths(self) -> list[Length]:
        """The shape in one run."""
        lengths: list[Length] = list(self.shape)
        if self.axis is not None and self.size is not None:
            lengths[self.axis] = self.size
        return lengths

    @property
    def content(self) -> np.ndarray | None:
        """Whole numbers as an object array, `Size` where the image decides; None if unknown."""
        if self.symbols is not None:
            return self.symbols
        return self.raw.astype(object) if self.known and self.raw.dtype.kind in "iu" else None


@dataclass(frozen=True, eq=False, kw_only=True)
class ListValue(Value):
    """A TensorList whose entries are known one by one; `size` where its length depends on the image."""

    items: tuple[Any, ...] = ()


def constant(value: Any, dtype: Any = None) -> Value:
    """A value known while rewriting."""
    return Value(raw=np.asarray(value, dtype))


def of_symbols(symbols: Any, dtype: Any = np.int32) -> Value:
    """Whole numbers, a plain constant if no length is among them."""
    array = np.empty(np.shape(symbols), object)
    array[...] = symbols
    if any(isinstance(part, Size) for part in array.flat):
        return Value(symbols=array)
    return constant(array.astype(dtype))


def padded(raw: Any, axis: int, size: Length, limit: int | None = None) -> Value:
    """A tensor with a length along one axis; a plain one if that is a number, to which it is then cut."""
    if isinstance(size, Size):
        return Value(raw=raw, axis=axis, size=size, limit=limit)
    return Value(raw=take_first(raw, axis, int(size)), limit=limit)


def take_first(raw: Any, axis: int, number: int) -> Any:
    """The first entries along an axis."""
    if raw.shape[axis] == number:
        return raw
    begin = [0] * len(raw.shape)
    sizes = [-1] * len(raw.shape)
    sizes[axis] = number
    return tf.slice(raw, begin, sizes)


def valid_entries(value: Value) -> Any:
    """bool [capacity]: which entries along the padded axis count."""
    assert value.axis is not None
    assert value.size is not None
    return tf.range(value.shape[value.axis]) < value.size.tensor


def gather_axis(raw: Any, indices: Any, axis: int = 0) -> Any:
    """Entries along an axis; indices must be in range."""
    return tf.gather(raw, indices, axis=axis)


def order_of(mask: Any, most: int | None = None) -> tuple[Any, Size]:
    """Where a mask is true, in order: int32 [most] (what follows is in range and means nothing), and how many.

    One top-k over descending numbers: every runtime has it, and none has a list of unknown length to allocate.
    """
    number = int(mask.shape[0])
    most = number if most is None else min(most, number)
    ranks = tf.where(mask, tf.range(number, 0, -1), tf.zeros([number], tf.int32))
    found = tf.reduce_sum(tf.cast(mask, tf.int32))
    size = new_size(found if most == number else tf.minimum(found, most), most)
    return tf.math.top_k(ranks, k=most).indices, size


def concat_parts(parts: Sequence[Value], axis: int) -> tuple[Any, Length]:
    """int32 [sum of capacities] order that brings the entries that count to the front, and the length of it all.

    The order is for the concatenation of the padded tensors; it is None where nothing is padded.
    """
    total: Any = 0
    for part in parts:
        total = total + part.lengths[axis]
    if not any(part.padded and part.axis == axis for part in parts):
        return None, total
    masks = [
        valid_entries(part) if part.axis == axis and part.padded else tf.ones([part.shape[axis]], tf.bool)
        for part in parts
    ]
    order, _ = order_of(tf.concat(masks, axis=0))
    return order, total
