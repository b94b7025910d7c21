"""Rows for loops and branches: bodies in place, one after the other, and TensorLists as plain tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError
from stages.core.substituting.values import ListValue, Size, Value, bounds, constant, padded
from stages.core.substituting.walker import Rule, Walker, read_attribute

MOST_TURNS = 512
"""Turns of a loop beyond which its body is not written out."""


def write_out_loop(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """While: the body once for each turn.

    Where the image decides on the number of turns, the greatest is written out; then only TensorLists may differ from
    turn to turn, as `tf.map_fn` has it: entries behind the length mean nothing.
    """
    condition, body = (read_attribute(node.attr[name]) for name in ("cond", "body"))
    state, certain = list(inputs), True
    for turn in range(MOST_TURNS + 1):
        goes_on = walker.run_function(condition, state)[0]
        if goes_on.known and not bool(goes_on.raw):
            return state
        if turn == MOST_TURNS:
            break
        certain = certain and goes_on.known
        after = walker.run_function(body, state)
        if not certain:
            _check_map(state, after)
        state = after
    raise ArtifactError(
        f"a loop of more than {MOST_TURNS} turns, or of a number that no bound is known of: it cannot be written out"
    )


def _check_map(before: Sequence[Value], after: Sequence[Value]) -> None:
    for old, new in zip(before, after, strict=True):
        if not (old is new or isinstance(new, ListValue) or (old.known and new.known)):
            raise ArtifactError(
                "a loop whose number of turns the image decides and that hands numbers from turn to turn; "
                "only maps (tf.map_fn) can be written out"
            )


def choose_branch(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """If: the branch that is known to be taken."""
    if not inputs[0].known:
        raise ArtifactError("a branch that the image's content decides")
    name = "then_branch" if bool(np.all(inputs[0].raw)) else "else_branch"
    return walker.run_function(read_attribute(node.attr[name]), inputs[1:])


def call_function(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """A call: the function's body in place."""
    return walker.run_function(read_attribute(node.attr["f"]), inputs)


def reserve(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """TensorListReserve: a list of empty entries."""
    del walker
    number = inputs[-1].content
    if number is None:
        raise ArtifactError("a list whose number of entries depends on the image's content")
    most = bounds(number.item())[1]
    size = number.item() if isinstance(number.item(), Size) else None
    del node
    return [ListValue(raw=None, items=(None,) * most, axis=None if size is None else 0, size=size)]


def from_tensor(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """TensorListFromTensor: its rows."""
    del node
    value = inputs[0]
    if value.padded and value.axis != 0:
        raise ArtifactError("a list of lists whose length the image decides")
    if value.known:
        return [ListValue(items=tuple(constant(row) for row in value.raw))]
    raw = walker.tensor(value)
    items = tuple(Value(raw=raw[index], limit=value.limit) for index in range(value.shape[0]))
    return [ListValue(items=items, axis=value.axis, size=value.size)]


def get_item(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """TensorListGetItem."""
    del walker
    item = _list(inputs[0]).items[_index_of(inputs[1])]
    if item is None:
        raise ArtifactError("an entry is read before it is written")
    del node
    return [item]


def set_item(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """TensorListSetItem."""
    del walker, node
    old, index, item = _list(inputs[0]), _index_of(inputs[1]), inputs[2]
    return [ListValue(items=(*old.items[:index], item, *old.items[index + 1 :]), axis=old.axis, size=old.size)]


def stack(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """TensorListStack: the entries as one tensor."""
    value = _list(inputs[0])
    if any(item is not None and (item.padded or item.symbols is not None) for item in value.items):
        raise ArtifactError("a list of lists whose lengths the image decides")
    written = next((item for item in value.items if item is not None), None)
    if written is None:
        raise ArtifactError("an empty list")
    del node
    blank = walker.tensor(written) * tf.zeros([], walker.tensor(written).dtype) if None in value.items else None
    raw = tf.stack([blank if item is None else walker.tensor(item) for item in value.items])
    return [padded(raw, 0, value.size) if value.size is not None else Value(raw=raw)]


def length(walker: Walker, node: Any, inputs: list[Value]) -> list[Value]:
    """TensorListLength."""
    del walker, node
    value = _list(inputs[0])
    return [constant(len(value.items), np.int32)] if value.size is None else [Value(symbols=_scalar(value.size))]


def _scalar(size: Size) -> np.ndarray:
    array = np.empty([], object)
    array[()] = size
    return array


def _list(value: Value) -> ListValue:
    if not isinstance(value, ListValue):
        raise ArtifactError("a TensorList from an op that no row covers")
    return value


def _index_of(value: Value) -> int:
    if not value.known:
        raise ArtifactError("an entry of a TensorList at an index that the image decides")
    return int(value.raw)


RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(("While", "StatelessWhile"), (write_out_loop,)),
    **dict.fromkeys(("If", "StatelessIf"), (choose_branch,)),
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall"), (call_function,)),
    "TensorListReserve": (reserve,),
    "TensorListFromTensor": (from_tensor,),
    "TensorListGetItem": (get_item,),
    "TensorListSetItem": (set_item,),
    "TensorListStack": (stack,),
    "TensorListLength": (length,),
}
