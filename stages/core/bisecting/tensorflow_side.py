"""The tensors of a SavedModel: listed, and computed by TensorFlow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.native_output import silence_native
from stages.core.bisecting.points import Point, list_points
from stages.core.exporting.frozen_graph import freeze_saved_model
from stages.core.graphs.flatbuffer import Graph, Op, Tensor


class TensorflowSide:
    """A SavedModel's signature, frozen.

    Raises:
      MissingResultError, ArtifactError: if there is none, or it cannot be read.
    """

    def __init__(self, folder: Path, signature: str) -> None:
        self._graph = tf.Graph()
        with silence_native():
            graph, self._names = freeze_saved_model(folder, signature)
            with self._graph.as_default():
                tf.import_graph_def(graph, name="")
        self._tensors = [tensor for op in self._graph.get_operations() for tensor in op.outputs]

    def list_points(self) -> tuple[Point, ...]:
        """Tensors in execution order."""
        numbers = {tensor.name: index for index, tensor in enumerate(self._tensors)}
        constants: dict[int, np.ndarray] = {}
        ops = []
        for op in self._graph.get_operations():
            if op.type == "Const" and op.outputs[0].dtype.is_numpy_compatible:
                constants[numbers[op.outputs[0].name]] = tf.make_ndarray(op.get_attr("value"))
            elif op.type not in ("Const", "Placeholder"):
                read, written = ([numbers[t.name] for t in side] for side in (op.inputs, op.outputs))
                ops.append(Op(kind=op.type, custom=False, inputs=tuple(read), outputs=tuple(written)))
        tensors = [_describe(tensor, index, index in constants) for index, tensor in enumerate(self._tensors)]
        outputs = {name: numbers[tensor] for name, tensor in self._names.items()}
        points = list_points(Graph(tensors=tuple(tensors), ops=tuple(ops), inputs={}, outputs=outputs), constants)
        return tuple(point for point in points if self._is_number(point.index))

    def run(self, wanted: Sequence[int], name: str, images: Sequence[np.ndarray]) -> list[dict[int, np.ndarray]]:
        """The wanted tensors as float32 for each input tensor; `name` is the input's in the signature."""
        # One session for all: a concrete function would be traced anew for other outputs.
        with silence_native(), tf.compat.v1.Session(graph=self._graph) as session:
            fetched = {index: self._tensors[index] for index in wanted}
            found = [session.run(fetched, {self._names[name]: image}) for image in images]
        return [{index: np.asarray(value, np.float32) for index, value in values.items()} for values in found]

    def _is_number(self, index: int) -> bool:
        tensor = self._tensors[index]
        kind = tensor.dtype
        return bool(tensor.shape.is_fully_defined() and (kind.is_floating or kind.is_integer))


def _describe(tensor: Any, index: int, constant: bool) -> Tensor:
    shape = tuple(tensor.shape.as_list()) if tensor.shape.is_fully_defined() else (-1,)
    return Tensor(
        index=index,
        name=tensor.op.name,
        shape=shape,
        dtype=tensor.dtype.name,
        scales=(),
        zero_points=(),
        constant=constant,
    )
