"""Graphs to rewrite: from a concrete function, a SavedModel or a frozen GraphDef."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from stages.core.base.errors import ArtifactError, MissingResultError

TF1_LOOPS = frozenset({"Enter", "Exit", "Switch", "Merge", "NextIteration", "LoopCond"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Frozen:
    """A model whose weights are constants.

    Attributes:
      graph: The GraphDef, its library of functions included.
      inputs: Input name to (node name, TensorShape, dtype).
      outputs: Output name to tensor name.
      source: Where it came from, for messages.
    """

    graph: Any
    inputs: dict[str, tuple[str, Any, Any]]
    outputs: dict[str, str]
    source: str

    @property
    def library(self) -> dict[str, Any]:
        return {function.signature.name: function for function in self.graph.library.function}


def freeze_function(function: Any, source: str = "the function") -> Frozen:
    """A concrete function with a signature, its variables turned into constants.

    Args:
      function: Concrete function; the outputs are a dictionary.
      source: For messages.
    """
    constant = convert_variables_to_constants_v2(function, lower_control_flow=False)
    names = _input_names(function)
    results = function.structured_outputs
    if not isinstance(results, Mapping):
        results = {f"output_{index}": item for index, item in enumerate(tf.nest.flatten(results))}
    return Frozen(
        graph=constant.graph.as_graph_def(),
        inputs={
            name: (tensor.op.name, tensor.shape, tensor.dtype)
            for name, tensor in zip(names, constant.inputs, strict=True)
        },
        # TensorFlow flattens dictionaries in key order.
        outputs={name: tensor.name for name, tensor in zip(sorted(results), constant.outputs, strict=True)},
        source=source,
    )


def _input_names(function: Any) -> list[str]:
    names = getattr(function, "_arg_keywords", None)
    positional, by_name = function.structured_input_signature
    if names and len(names) == len(tf.nest.flatten((positional, by_name))):
        return list(names)
    return [spec.name for spec in tf.nest.flatten(positional)] + sorted(by_name)


def freeze_signature(path: Path, signature: str = "serving_default") -> Frozen:
    """One signature of a SavedModel. Its graph is read; no Keras code of the model runs.

    Raises:
      MissingResultError: if there is none.
      ArtifactError: if it is damaged, or has no such signature.
    """
    if not (path / "saved_model.pb").is_file():
        raise MissingResultError(f"{path}: no SavedModel (saved_model.pb is missing)")
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # whatever TensorFlow raises on a damaged folder
        raise ArtifactError(f"{path}: TensorFlow cannot load it: {' '.join(str(error).split())[:300]}") from None
    if signature not in loaded.signatures:
        known = ", ".join(sorted(loaded.signatures)) or "none: save it with one"
        raise ArtifactError(f"{path}: no signature {signature!r}; it has: {known} (`signature` names it)")
    return freeze_function(loaded.signatures[signature], str(path))


def freeze_graph_def(graph: Any, inputs: Sequence[str], outputs: Mapping[str, str], source: str) -> Frozen:
    """A GraphDef whose weights are constants already.

    Args:
      graph: The GraphDef.
      inputs: Names of its placeholders.
      outputs: Output name to tensor name.
      source: For messages.

    Raises:
      ArtifactError: if there is no such node, or the graph has loops of TensorFlow 1.
    """
    check_loops(graph, source)
    nodes = {node.name: node for node in graph.node}
    for name in (*inputs, *(tensor.partition(":")[0] for tensor in outputs.values())):
        if name not in nodes:
            raise ArtifactError(f"{source}: no node {name!r} among {len(nodes)}")
    found = {}
    for name in inputs:
        attributes = nodes[name].attr
        if "dtype" not in attributes:
            raise ArtifactError(f"{source}: {name!r} is a {nodes[name].op}, expected a Placeholder")
        found[name] = (name, tf.TensorShape(attributes["shape"].shape), tf.as_dtype(attributes["dtype"].type))
    return Frozen(graph=graph, inputs=found, outputs=dict(outputs), source=source)


def check_loops(graph: Any, source: str) -> None:
    """Raises ArtifactError for loops of TensorFlow 1, which have no body to write out."""
    found = sorted({node.op for node in graph.node} & TF1_LOOPS)
    if found:
        raise ArtifactError(f"{source}: loops of TensorFlow 1 ({', '.join(found)}); save it with control flow v2")
