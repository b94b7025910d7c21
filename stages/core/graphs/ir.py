"""An OpenVINO IR as the same small graph as a .tflite file: tensors, ops, what is stored and what is quantized."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from stages.core.base.errors import ArtifactError
from stages.core.graphs.flatbuffer import Graph, Op, Tensor

EIGHT_BIT_LEVELS = (255, 256)
KEEPS_VALUES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "MaxPool"})
"""Ops whose result is as quantized as what they read."""


def read_ir_graph(path: Path) -> Graph:
    """The graph of an IR.

    What a FakeQuantize of 255 or 256 levels writes counts as int8: that is the type in which the plugin computes it.

    Raises:
      ArtifactError: if OpenVINO cannot read the file.
    """
    try:
        model = ov.Core().read_model(path)
    except RuntimeError as error:
        raise ArtifactError(f"{path.name}: not a whole OpenVINO IR: {' '.join(str(error).split())[:300]}") from None
    return model_to_graph(model)


def model_to_graph(model: Any) -> Graph:
    """The graph of an `openvino.Model`; ops in execution order, `Parameter`, `Constant` and `Result` left out."""
    tensors: list[Tensor] = []
    ops: list[Op] = []
    positions: dict[tuple[str, int], int] = {}
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "Result":
            continue
        read = tuple(_index_of(node.input_value(index), positions) for index in range(node.get_input_size()))
        written = []
        for output in node.outputs():
            positions[node.get_name(), output.get_index()] = len(tensors)
            written.append(len(tensors))
            tensors.append(_describe(node, output, len(tensors), [tensors[index] for index in read]))
        if kind not in ("Parameter", "Constant"):
            ops.append(Op(kind=kind, custom=False, inputs=read, outputs=tuple(written)))
    return _with_stored_scales(
        Graph(
            tensors=tuple(tensors),
            ops=tuple(ops),
            inputs=_name_ports(model.inputs, positions),
            outputs=_name_ports([output.get_node().input_value(0) for output in model.outputs], positions),
        )
    )


def _index_of(output: Any, positions: Mapping[tuple[str, int], int]) -> int:
    return positions[output.get_node().get_name(), output.get_index()]


def _name_ports(ports: Any, positions: Mapping[tuple[str, int], int]) -> dict[str, int]:
    return {name: _index_of(port, positions) for port in ports for name in port.get_names()}


def _describe(node: Any, output: Any, index: int, read: list[Tensor]) -> Tensor:
    kind = node.get_type_name()
    scales: tuple[float, ...] = ()
    dtype = np.dtype(output.get_element_type().to_dtype()).name
    if kind == "FakeQuantize" and int(node.get_attributes()["levels"]) in EIGHT_BIT_LEVELS:
        dtype, scales = "int8", (1.0,)
    elif kind in KEEPS_VALUES and read and read[0].dtype == "int8":
        dtype, scales = "int8", read[0].scales
    return Tensor(
        index=index,
        name=node.get_friendly_name(),
        shape=tuple(side.get_length() if side.is_static else -1 for side in output.get_partial_shape()),
        dtype=dtype,
        scales=scales,
        zero_points=(),
        constant=kind == "Constant",
    )


def _with_stored_scales(graph: Graph) -> Graph:
    """Stored int8 weights get one scale per value of the constant that they are multiplied with."""
    tensors = list(graph.tensors)
    for op in graph.ops:
        if op.kind != "Multiply":
            continue
        source, factor = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]]
        while not source.constant and (producer := graph.producers.get(source.index)) is not None:
            if producer.kind not in ("Convert", "Subtract"):
                break
            source = graph.tensors[producer.inputs[0]]
        if source.constant and source.dtype in ("int8", "uint8"):
            count = int(np.prod(_constant_shape(graph, factor)))
            tensors[source.index] = Tensor(**{**vars(source), "scales": (1.0,) * count})
    return Graph(tensors=tuple(tensors), ops=graph.ops, inputs=graph.inputs, outputs=graph.outputs)


def _constant_shape(graph: Graph, tensor: Tensor) -> tuple[int, ...]:
    producer = graph.producers.get(tensor.index)
    return tensor.shape if producer is None else graph.tensors[producer.inputs[0]].shape
