"""Reading TensorFlow 1: name-based checkpoints, with the graph beside them, and frozen graphs."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2

from stages.core.training.initializing.stored import CheckpointFile, StoredVariables, damaged_checkpoint

AVERAGE = "/ExponentialMovingAverage"
SLOTS = ("/Momentum", "/RMSProp", "/RMSProp_1", "/Adam", "/Adam_1", "/Adagrad")
FAKE_QUANT = ("/act_quant/", "/weights_quant/")
VARIANCE = "moving_variance"


def open_name_based(prefix: Path) -> StoredVariables:
    """A TF1 checkpoint: optimizer slots and the ranges of fake-quant nodes left out, averaged weights preferred.

    The Object Detection API evaluates and exports the moving averages where a training kept them. Epsilons come from
    the graph in `<prefix>.meta`, if it is there.

    Raises:
      CheckpointError: if the index cannot be read.
    """
    try:
        file = CheckpointFile(prefix)
        stored = file.shapes()
    except Exception as error:  # plain RuntimeError and various tf.errors
        raise damaged_checkpoint(prefix, str(error)) from None
    shapes = {name: shape for name, shape in stored.items() if not _is_auxiliary(name)}
    averaged = {name for name in shapes if name + AVERAGE in stored}
    return StoredVariables(
        path=prefix,
        shapes=shapes,
        read_value=lambda name: file.read(name + AVERAGE if name in averaged else name),
        epsilons=_read_meta(prefix.with_name(f"{prefix.name}.meta")),
        notes=(f"{len(averaged)} variables by their moving average",) if averaged else (),
    )


def open_frozen_graph(path: Path) -> StoredVariables:
    """A frozen TF1 graph: its float constants of at least one axis, by the names of the variables they were.

    Raises:
      CheckpointError: if it is no graph.
    """
    graph = parse_frozen_graph(path)
    if graph is None:
        raise damaged_checkpoint(path, "not a frozen graph (GraphDef)")
    constants = {node.name: node for node in _all_nodes(graph) if node.op == "Const" and _is_weight(node)}
    return StoredVariables(
        path=path,
        shapes={name: _shape(node) for name, node in constants.items()},
        read_value=lambda name: _constant(constants[name]),
        epsilons=dict(_epsilons(_all_nodes(graph))),
    )


def parse_frozen_graph(path: Path) -> Any:
    """The GraphDef in a binary file; None if it is none."""
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
    except (OSError, DecodeError, RuntimeError):
        return None
    return graph if graph.node else None


def _is_auxiliary(name: str) -> bool:
    return name.endswith((*SLOTS, AVERAGE)) or any(part in f"/{name}/" for part in FAKE_QUANT)


def _all_nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _epsilons(nodes: Iterable[Any]) -> Iterator[tuple[str, float]]:
    """Name of a variance and epsilon of each fused batch norm."""
    for node in nodes:
        if node.op.startswith("FusedBatchNorm") and "Grad" not in node.op:
            scope = node.name.rpartition("/")[0]
            # Kept as float32 in the graph: 0.001 is to be 0.001 again.
            yield f"{scope}/{VARIANCE}", float(f"{node.attr['epsilon'].f:.6g}")


def _read_meta(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    try:
        meta = meta_graph_pb2.MetaGraphDef.FromString(path.read_bytes())
    except DecodeError:
        raise damaged_checkpoint(path, "not a MetaGraphDef: take it away, or get it again") from None
    return dict(_epsilons(meta.graph_def.node))


def _is_weight(node: Any) -> bool:
    tensor = node.attr["value"].tensor
    return tensor.dtype == tf.float32.as_datatype_enum and len(tensor.tensor_shape.dim) > 0


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(dim.size for dim in node.attr["value"].tensor.tensor_shape.dim)


def _constant(node: Any) -> np.ndarray:
    return np.asarray(tf.make_ndarray(node.attr["value"].tensor))
