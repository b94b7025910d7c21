"""Top-k searches of an OpenVINO model, made fast without changing what they find."""

from typing import Any

import numpy as np
from openvino import opset11

MOST = 46_340
"""Positions of the best that 32-bit numbers can order: the square of it fits."""


def speed_up_searches(model: Any) -> None:
    """Replaces stable searches by unstable ones with the same result, in place.

    Flat image regions and quantized heads give many equal scores. TensorFlow puts the lower index first, and what a
    suppression leaves hangs on that, so the searches of a converted model are stable. A stable TopK is a bubble sort in
    the CPU plugin: on the 36,720 scores of a MobileDet at 256 pixels it takes 131 of 143 ms, an unstable one 0.5 ms.
    """
    for node in list(model.get_ops()):
        if node.get_type_name() == "TopK" and _is_replaceable(node):
            num = node.input(0).get_partial_shape()[0].get_length()
            best, positions = find_best(node.input_value(0), num, int(node.input_value(1).get_node().data.item()))
            node.output(0).replace(best)
            node.output(1).replace(positions)


def _is_replaceable(node: Any) -> bool:
    """Whether it looks for a stored number of the largest values of one static axis."""
    about, shape, counted = node.get_attributes(), node.input(0).get_partial_shape(), node.input_value(1).get_node()
    return bool(
        about["stable"]
        and (about["mode"], about["sort"], about["index_element_type"]) == ("max", "value", "i32")
        and shape.is_static
        and len(shape) == 1
        and counted.get_type_name() == "Constant"
        and counted.data.item() <= MOST
    )


def find_best(values: Any, num: int, k: int) -> tuple[Any, Any]:
    """The `k` largest of `num` values, largest first, and their positions; of equal values the first come first.

    Args:
      values: Output of shape [num], without NaN.
      num, k: 1 <= k <= num < 2**30, k <= `MOST`.

    Returns:
      Outputs of shape [k]: the values, and their positions as int32.
    """
    best, order = _search(values, k)
    if k == num:
        return best, _order_equals(best, order, k)
    threshold = _take(best, _int32([k - 1]))
    # What is above the threshold is in; of what is equal to it, the first.
    from_end = opset11.subtract(_int32(num), _count(num))
    equals = opset11.select(opset11.equal(values, threshold), from_end, _int32(0))
    keys = opset11.select(opset11.greater(values, threshold), opset11.add(from_end, _int32(num)), equals)
    chosen = _search(keys, k)[1]
    # `chosen` lists positions in ascending order, but for those at the threshold, which come last anyway.
    best, order = _search(_take(values, chosen), k)
    return best, _take(chosen, _order_equals(best, order, k))


def _order_equals(best: Any, order: Any, k: int) -> Any:
    """`order` (positions of the sorted values `best`) with the positions of equal values ascending."""
    if k == 1:
        return order
    steps = opset11.not_equal(_take(best, _count(k, 1)), _take(best, _count(k - 1)))
    groups = opset11.concat([_int32([0]), opset11.cum_sum(opset11.convert(steps, "i32"), _int32(0))], 0)
    positions, ascending = _search(order, k, mode="min")
    keys = opset11.add(opset11.multiply(_take(groups, ascending), _int32(k)), _count(k))
    return _take(positions, _search(keys, k, mode="min")[1])


def _take(values: Any, positions: Any) -> Any:
    return opset11.gather(values, positions, _int32(0)).output(0)


def _search(values: Any, k: int, mode: str = "max") -> tuple[Any, Any]:
    found = opset11.topk(values, _int32(k), 0, mode, "value", "i32", stable=False)
    return found.output(0), found.output(1)


def _count(end: int, start: int = 0) -> Any:
    """start, start + 1, ... end - 1, without storing them."""
    return opset11.range(_int32(start), _int32(end), _int32(1), "i32")


def _int32(values: int | list[int]) -> Any:
    return opset11.constant(np.asarray(values, np.int32))
