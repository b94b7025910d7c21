"""An OpenVINO model of one image to one of several: `reshape` alone would answer for the first image only."""

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13

NodeOutput = tuple[int, int]
"""Position of a node in execution order, and which of its outputs."""

ELEMENTWISE = frozenset({
    "Abs", "Add", "Clamp", "Convert", "Divide", "Elu", "Exp", "FakeQuantize", "Gelu", "HSigmoid", "HSwish", "Maximum",
    "Minimum", "Mish", "Multiply", "Negative", "PRelu", "Power", "Relu", "Sigmoid", "SoftPlus", "Sqrt",
    "SquaredDifference", "Subtract", "Swish", "Tanh",
})  # fmt: skip
SPATIAL = frozenset({
    "AvgPool", "Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData",
})  # fmt: skip


def batch_model(model: Any, num: int) -> Any:
    """A model that gives for each of `num` images what `model` gives for one.

    Ops that keep images apart along the first axis (backbone, feature pyramid, heads) compute all images at once. Where
    that ends (suppression, regions of interest: their shapes hold for one image) each image goes on by itself through
    a copy of the rest. Copies share their constants: the file grows by the copies' ops alone.

    Args:
      model: Static, one input [1, ...], every output [1, ...]. Not changed.
      num: 1 or more.
    """
    nodes = model.get_ordered_ops()
    joint = _find_joint(nodes)
    whole, copies = model.clone(), [model.clone() for _ in range(num)]
    _widen(whole, nodes, joint, num)
    joined = whole.get_ordered_ops()
    for index, copy in enumerate(copies):
        own = copy.get_ordered_ops()
        if [node.get_type_name() for node in own] != [node.get_type_name() for node in nodes]:
            raise RuntimeError("a clone lists its ops in another order")
        for position, port in _borders(nodes, joint):
            row = opset13.gather(joined[position].output(port), _int64([index]), _int64(0))
            row.set_friendly_name(f"{nodes[position].get_friendly_name()}/image_{index}")
            own[position].output(port).replace(row.output(0))
        if index:
            for position, node in enumerate(own):
                if node.get_type_name() != "Constant" and (position, 0) not in joint:
                    node.set_friendly_name(f"{node.get_friendly_name()}/image_{index}")
    results = [_join(model, copies, index) for index in range(len(model.outputs))]
    batched = ov.Model(results, whole.get_parameters(), model.get_friendly_name())
    batched.validate_nodes_and_infer_types()
    return batched


def _find_joint(nodes: list[Any]) -> set[NodeOutput]:
    """Outputs [1, ...] whose first axis counts images and nothing else, and on which a batch can be computed."""
    positions = {node.get_name(): position for position, node in enumerate(nodes)}
    joint: set[NodeOutput] = set()
    varying: set[str] = set()
    for position, node in enumerate(nodes):
        kind, name = node.get_type_name(), node.get_name()
        sources = [value.get_node().get_name() for value in node.input_values()]
        if kind != "Parameter" and not varying.intersection(sources):
            continue
        varying.add(name)
        read = [(positions[value.get_node().get_name()], value.get_index()) in joint for value in node.input_values()]
        stays = all(flag or source not in varying for flag, source in zip(read, sources, strict=True))
        outputs = [output.get_partial_shape() for output in node.outputs()]
        single = all(shape.is_static and len(shape) > 1 and shape[0].get_length() == 1 for shape in outputs)
        if kind == "Parameter" or (stays and single and outputs and _keeps_images_apart(node, read)):
            joint |= {(position, index) for index in range(len(outputs))}
    return joint


def _borders(nodes: list[Any], joint: set[NodeOutput]) -> list[NodeOutput]:
    """Joint outputs that are read by something else: there each image goes on by itself."""
    inside = {nodes[position].get_name() for position, _ in joint}
    return sorted(
        (position, port)
        for position, port in joint
        if any(
            reader.get_node().get_name() not in inside for reader in nodes[position].output(port).get_target_inputs()
        )
    )


def _widen(model: Any, nodes: list[Any], joint: set[NodeOutput], num: int) -> None:
    """Sets the first axis of the joint part to `num`."""
    own = model.get_ordered_ops()
    for position, _ in joint:
        node = own[position]
        if node.get_type_name() == "Parameter":
            shape = [num, *list(node.get_output_shape(0))[1:]]
            node.set_partial_shape(ov.PartialShape(shape))
        if node.get_type_name() == "Reshape":
            target = np.asarray(node.input_value(1).get_node().data)
            node.set_argument(1, _int64([num, *target[1:].tolist()]).output(0))


def _keeps_images_apart(node: Any, read: list[bool]) -> bool:
    kind = node.get_type_name()
    if kind in ELEMENTWISE:
        rank = len(node.output(0).get_partial_shape())
        shapes = [value.get_partial_shape() for value in node.input_values()]
        return all(
            len(shape) == rank if joint else len(shape) < rank or shape[0].get_length() == 1
            for shape, joint in zip(shapes, read, strict=True)
            if shape.is_static
        )
    if kind in SPATIAL:
        return read[0] and not any(read[1:])
    return kind in RULES and RULES[kind](node, read)


def _reshapes_each(node: Any, read: list[bool]) -> bool:
    target, shape = _constant(node, 1), node.input_value(0).get_partial_shape()
    return read[0] and target is not None and len(target) > 1 and target[0] == 1 and shape[0].get_length() == 1


def _leaves_axis(position: int) -> Callable[[Any, list[bool]], bool]:
    """Whether the axes in a constant input are all behind the first one."""

    def check(node: Any, read: list[bool]) -> bool:
        axes = _constant(node, min(position, node.get_input_size() - 1))
        rank = len(node.input_value(0).get_partial_shape())
        if axes is None or not np.issubdtype(axes.dtype, np.integer) or not read[0] or any(read[1:]):
            return False
        return all(axis % rank != 0 for axis in axes.reshape(-1).tolist())

    return check


def _has_axis(node: Any, read: list[bool]) -> bool:
    rank = len(node.input_value(0).get_partial_shape())
    return all(read) and int(node.get_attributes()["axis"]) % rank != 0


def _transposes_each(node: Any, read: list[bool]) -> bool:
    order = _constant(node, 1)
    return read[0] and order is not None and order.size > 0 and order.reshape(-1)[0] == 0


def _pads_each(node: Any, read: list[bool]) -> bool:
    pads = [_constant(node, position) for position in (1, 2)]
    return read[0] and not any(read[1:]) and all(pad is not None and pad[0] == 0 for pad in pads)


RULES: dict[str, Callable[[Any, list[bool]], bool]] = {
    "Concat": _has_axis,
    "Interpolate": _leaves_axis(3),
    "MaxPool": lambda node, read: read[0],
    "Pad": _pads_each,
    "ReduceMax": _leaves_axis(1),
    "ReduceMean": _leaves_axis(1),
    "ReduceSum": _leaves_axis(1),
    "Reshape": _reshapes_each,
    "Softmax": _has_axis,
    "Transpose": _transposes_each,
}
"""Other kinds of ops to whether one of them treats each image by itself: (node, which inputs are joint)."""


def _join(model: Any, copies: list[Any], index: int) -> Any:
    """One output of all images, under the names that it had."""
    rows = [copy.get_results()[index].input_value(0) for copy in copies]
    joined = opset13.concat(rows, 0)
    result = opset13.result(joined)
    name = model.outputs[index].get_node().get_friendly_name()
    joined.set_friendly_name(f"{name}/images")
    result.set_friendly_name(name)
    joined.output(0).get_tensor().set_names(set(model.outputs[index].get_names()))
    return result


def _constant(node: Any, position: int) -> np.ndarray | None:
    source = node.input_value(position).get_node()
    return np.asarray(source.data) if source.get_type_name() == "Constant" else None


def _int64(values: int | list[int]) -> Any:
    return opset13.constant(np.asarray(values, np.int64))
