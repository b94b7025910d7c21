"""TF1 frozen graphs: read from bytes, cut between two sets of nodes, and all that needs no image made constant."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.file_kinds import FileKind, check_kind
from stages.core.base.nearest import nearest_names
from stages.core.substituting.frozen import freeze_signature

FAKE_QUANT = ("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVarsPerChannel")
"""Ops that simulate the rounding of integers while they compute in float."""
CONTROL_FLOW = frozenset({"Enter", "Exit", "Merge", "Switch", "NextIteration", "LoopCond", "If", "While"})
VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp", "ReadVariableOp", "AutoReloadVariable"})
SHOWN = 5
"""How many names a message lists."""


def read_frozen_graph(path: Path) -> Any:
    """A `GraphDef` from a binary file.

    Raises:
      MissingResultError: if there is no such file.
      ArtifactError: if it is empty, a Git LFS pointer, another format, truncated, or has no nodes.
    """
    try:
        check_kind(path, FileKind.FROZEN_GRAPH)
    except MissingResultError:
        raise MissingResultError(f"{path}: no such file; is it tracked by DVC (`dvc pull`)?") from None
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError has no public home that all its versions share
        raise ArtifactError(
            f"{path}: a truncated or damaged GraphDef of {path.stat().st_size} bytes ({type(error).__name__})"
        ) from None
    if len(graph.node) < 2:
        raise ArtifactError(f"{path}: a GraphDef with {len(graph.node)} nodes, expected a model's")
    return graph


def node_of(tensor: str) -> str:
    """`Squeeze:0` -> `Squeeze`."""
    return tensor.removeprefix("^").partition(":")[0]


def freeze_saved_model(path: Path, signature: str) -> tuple[Any, dict[str, str]]:
    """The GraphDef of a SavedModel's signature with its variables as constants, and the tensors of its inputs and
    outputs by their names in the signature.

    Raises:
      MissingResultError: if there is no such folder.
      ArtifactError: if it is no SavedModel, lacks the signature, or takes more than one tensor.
    """
    check_kind(path, FileKind.SAVED_MODEL)
    frozen = freeze_signature(path, signature)
    if len(frozen.inputs) != 1:
        raise ArtifactError(f"{path}: signature {signature!r} takes {sorted(frozen.inputs)}, expected one image")
    return frozen.graph, {name: f"{node}:0" for name, (node, _, _) in frozen.inputs.items()} | frozen.outputs


def check_nodes(graph: Any, wanted: Mapping[str, str], path: Path, *, also: Sequence[str] = ()) -> None:
    """Raises ArtifactError unless all tensors are there.

    Args:
      graph: A GraphDef.
      wanted: Key in params.yaml to tensor name.
      path: For the message, which lists the nearest names.
      also: Other names that could have been meant: those of a signature.
    """
    names = [node.name for node in graph.node]
    known = set(names)
    for key, tensor in wanted.items():
        if node_of(tensor) not in known:
            near = nearest_names(node_of(tensor), [*also, *names])
            raise ArtifactError(
                f"{path}: {key}: no node {node_of(tensor)!r} among {len(names)}; nearest: {', '.join(near) or 'none'}"
            )


def cut_graph(
    graph: Any, image: str, outputs: Sequence[str], shape: tuple[int, ...], path: Path, *, needs_image: bool = True
) -> Any:
    """The part of a graph between the image and the outputs; the image's node becomes a placeholder.

    Args:
      graph: A GraphDef.
      image: Name of the tensor that takes the image; float32 unless it is a placeholder of another type.
      outputs: Names of the tensors to keep.
      shape: Of the image, [1, H, W, 3].
      path: For messages.
      needs_image: Whether outputs that do not depend on the image are a mistake.

    Raises:
      ArtifactError: if the outputs do not depend on the image, need another placeholder, or cannot be frozen.
    """
    entry = node_of(image)
    cut = tf.compat.v1.GraphDef(versions=graph.versions, library=graph.library)
    for node in graph.node:
        if node.name == entry:
            placeholder = cut.node.add(name=entry, op="Placeholder")
            own = node.op.startswith("Placeholder") and node.attr["dtype"].type
            placeholder.attr["dtype"].type = own or tf.float32.as_datatype_enum
            placeholder.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
        else:
            cut.node.add().CopyFrom(node)
    cut = keep_ancestors(cut, outputs)
    names = {node.name for node in cut.node}
    if entry not in names and needs_image:
        raise ArtifactError(f"{path}: {', '.join(outputs)} do not depend on input.name {entry!r}: name an earlier node")
    others = [node.name for node in cut.node if node.op.startswith("Placeholder") and node.name != entry]
    others = [name for name in others if not _has_default(cut, name)]
    if others:
        raise ArtifactError(
            f"{path}: the outputs also depend on {', '.join(others[:SHOWN])}: input.name {entry!r} does not cut the "
            "graph; name a node that all ways from the image pass"
        )
    counts = Counter(node.op for node in cut.node)
    for kinds, what in ((CONTROL_FLOW, "control flow"), (VARIABLES, "variables: it is not frozen")):
        found = sorted(kinds & set(counts))
        if found:
            raise ArtifactError(
                f"{path}: between input.name {entry!r} and the outputs there is {what} ({', '.join(found)}); "
                "expected a frozen graph, cut behind its pre-processing and before its suppression"
            )
    return cut


def keep_ancestors(graph: Any, outputs: Sequence[str], *, stop: str = "") -> Any:
    """The nodes that tensors are computed from, in the graph's order; nothing before the node `stop`."""
    by_name = {node.name: node for node in graph.node}
    kept: set[str] = set()
    todo = [node_of(name) for name in outputs]
    while todo:
        name = todo.pop()
        if name not in kept:
            kept.add(name)
            todo += [node_of(source) for source in by_name[name].input if name != stop]
    part = tf.compat.v1.GraphDef(versions=graph.versions, library=graph.library)
    part.node.extend(node for node in graph.node if node.name in kept)
    return part


def _has_default(graph: Any, name: str) -> bool:
    return any(node.name == name and node.op == "PlaceholderWithDefault" for node in graph.node)


def feed_image(graph: Any, image: str, outputs: Sequence[str], pixels: Any) -> list[Any]:
    """Tensors of a cut graph, computed from normalised pixels in the function that is being traced."""
    entry = next(node for node in graph.node if node.name == node_of(image))
    return list(
        tf.graph_util.import_graph_def(
            graph,
            input_map={f"{entry.name}:0": tf.cast(pixels, tf.as_dtype(entry.attr["dtype"].type))},
            return_elements=[name if ":" in name else f"{name}:0" for name in outputs],
            name="",
        )
    )


def count_fake_quant(graph: Any) -> int:
    """How many nodes simulate rounding."""
    return sum(node.op in FAKE_QUANT for node in graph.node)


def evaluate(graph: Any, image: str, tensors: Sequence[str], shape: tuple[int, ...]) -> list[np.ndarray]:
    """Values of tensors for a black image."""
    with tf.Graph().as_default() as built, tf.compat.v1.Session(graph=built) as session:
        tf.graph_util.import_graph_def(graph, name="")
        entry = f"{node_of(image)}:0"
        images = {entry: np.zeros(shape, np.float32)} if node_of(image) in {node.name for node in graph.node} else {}
        names = [name if ":" in name else f"{name}:0" for name in tensors]
        return list(session.run(names, images))


def fold_constants(graph: Any, image: str, outputs: Sequence[str], shape: tuple[int, ...]) -> Any:
    """The same graph with every value that does not depend on the image stored as a constant, `outputs` under their
    own names.

    Weights whose rounding is simulated come out rounded; batch norm's arithmetic on stored numbers is done.
    """
    dependent = {node_of(image)}
    for node in _in_order(graph):
        if any(node_of(name) in dependent for name in node.input):
            dependent.add(node.name)
    by_name = {node.name: node for node in graph.node}
    border = sorted(
        {
            name if ":" in name else f"{name}:0"
            for node in graph.node
            if node.name in dependent
            for name in node.input
            if not name.startswith("^") and node_of(name) not in dependent and by_name[node_of(name)].op != "Const"
        }
    )
    fixed = {node_of(name) for name in outputs} - dependent
    border += [f"{name}:0" for name in sorted(fixed) if by_name[name].op != "Const" and f"{name}:0" not in border]
    values = dict(zip(border, evaluate(graph, image, border, shape), strict=True)) if border else {}
    folded = tf.compat.v1.GraphDef(versions=graph.versions, library=graph.library)
    own = {f"{name}:0" for name in fixed}
    stored = {name: node_of(name) if name in own else _constant_name(name) for name in values}
    for name, value in values.items():
        node = folded.node.add(name=stored[name], op="Const")
        node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    for node in graph.node:
        if node.name in dependent or node.op == "Const":
            kept = folded.node.add()
            kept.CopyFrom(node)
            del kept.input[:]
            names = [name for name in node.input if not name.startswith("^")]
            kept.input.extend(stored.get(name if ":" in name else f"{name}:0", name) for name in names)
    return folded


def _constant_name(tensor: str) -> str:
    name, _, index = tensor.partition(":")
    return f"{name}/folded_{index}"


def _in_order(graph: Any) -> list[Any]:
    """Nodes after all that they read."""
    by_name = {node.name: node for node in graph.node}
    order: list[Any] = []
    done: set[str] = set()
    todo = [(node, False) for node in reversed(graph.node)]
    while todo:
        node, ready = todo.pop()
        if node.name in done:
            continue
        if ready:
            done.add(node.name)
            order.append(node)
            continue
        todo.append((node, True))
        todo += [(by_name[node_of(name)], False) for name in node.input if node_of(name) not in done]
    return order
