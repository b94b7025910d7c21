"""A frozen graph, walked from its outputs and emitted again, op by op, by the rows of one table."""

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph_def

from stages.core.base.errors import ArtifactError
from stages.core.substituting.values import Value

Rule = Callable[["Walker", Any, list[Value]], list[Value] | None]
"""(walker, node, inputs) to the outputs, or None where the row does not apply."""

STATEFUL = frozenset({"Placeholder", "RandomUniform", "RandomStandardNormal", "VarHandleOp", "ReadVariableOp"})


class Walker:
    """One rewriting of a graph.

    Attributes:
      counts: How many nodes each row has replaced, by the row's name.
      replaced: Node name to op and outputs, of those outside of loops and functions: errors are measured there.
    """

    def __init__(self, library: Mapping[str, Any], rules: Mapping[str, tuple[Rule, ...]], replaces: frozenset[str]):
        self.library, self.rules, self.replaces = library, rules, replaces
        self.counts: Counter[str] = Counter()
        self.replaced: dict[str, tuple[str, list[Value]]] = {}
        self._constants: dict[int, tuple[Value, Any]] = {}
        self._functions: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {}
        self._depth = 0

    def tensor(self, value: Value) -> Any:
        """The tensor of a value; a constant is emitted once."""
        if not value.known:
            return value.tensor
        if id(value) not in self._constants:
            self._constants[id(value)] = (value, value.tensor)
        return self._constants[id(value)][1]

    def run_graph(self, graph: Any, feeds: Mapping[str, Value], outputs: Sequence[str]) -> list[Value]:
        """Emits what the outputs (tensor names) need of a GraphDef, with the feeds (node names) in place."""
        return self._run({node.name: node for node in graph.node}, feeds, outputs)

    def run_function(self, name: str, arguments: Sequence[Value]) -> list[Value]:
        """Emits the body of a function of the library in place."""
        if name not in self._functions:
            graph, flat = function_def_to_graph_def(self.library[name])
            signature = self.library[name].signature
            results = [flat[self.library[name].ret[output.name]] for output in signature.output_arg]
            nodes = {node.name: node for node in graph.node}
            self._functions[name] = (nodes, [argument.name for argument in signature.input_arg], results)
        nodes, names, results = self._functions[name]
        self._depth += 1
        try:
            return self._run(nodes, dict(zip(names, arguments, strict=True)), results)
        finally:
            self._depth -= 1

    def _run(self, nodes: Mapping[str, Any], feeds: Mapping[str, Value], outputs: Sequence[str]) -> list[Value]:
        done: dict[str, list[Value]] = {name: [value] for name, value in feeds.items()}
        todo = [_split(name)[0] for name in outputs]
        while todo:
            name = todo[-1]
            if name in done:
                todo.pop()
                continue
            if name not in nodes:
                raise ArtifactError(f"the graph has no node {name!r}")
            node = nodes[name]
            sources = [_split(source) for source in node.input if not source.startswith("^")]
            missing = [source for source, _ in sources if source not in done]
            if missing:
                todo += missing
                continue
            done[name] = self._emit(node, [done[source][position] for source, position in sources])
            todo.pop()
        return [done[name][position] for name, position in map(_split, outputs)]

    def _emit(self, node: Any, inputs: list[Value]) -> list[Value]:
        try:
            for rule in self.rules.get(node.op, ()):
                found = rule(self, node, inputs)
                if found is not None:
                    self._note(node, found)
                    return found
            if node.op == "Const":
                return [Value(raw=tf.make_ndarray(node.attr["value"].tensor))]
            if inputs and all(value.known for value in inputs) and node.op not in STATEFUL:
                with tf.init_scope():
                    results = call_op(node, [tf.constant(value.raw) for value in inputs])
                return [Value(raw=np.asarray(result.numpy())) for result in results]
            if any(value.padded for value in inputs):
                raise ArtifactError("no row covers a list whose length the image decides")
            if node.op == "Placeholder":
                raise ArtifactError("an input that is neither the image nor bound to a value")
            return [Value(raw=result) for result in call_op(node, [self.tensor(value) for value in inputs])]
        except Exception as error:
            if not isinstance(error, ArtifactError):
                error.add_note(f"at {node.name} ({node.op})")
                raise
            if getattr(error, "named", False):
                raise
            named = ArtifactError(f"{node.name} ({node.op}): {error}")
            named.named = True  # type: ignore[attr-defined]
            raise named from None

    def _note(self, node: Any, found: list[Value]) -> None:
        if node.op in self.replaces:
            self.counts[node.op] += 1
            if not self._depth:
                self.replaced[node.name] = (node.op, found)


def _split(tensor: str) -> tuple[str, int]:
    name, _, position = tensor.partition(":")
    return name, int(position or 0)


def call_op(node: Any, inputs: Sequence[Any]) -> list[Any]:
    """Emits (or computes, outside of a graph) one node with other inputs.

    Raises:
      ArtifactError: if TensorFlow has no such op, or refuses the inputs.
    """
    function = getattr(tf.raw_ops, node.op, None)
    if function is None:
        raise ArtifactError("TensorFlow has no op of this name: a custom op")
    schema = tf.raw_ops.__dict__[node.op]
    wanted = list(inspect.signature(schema).parameters)
    arguments: dict[str, Any] = {}
    left, counts = list(inputs), _input_counts(node)
    # Python's names of some inputs and attributes are not the op's; their order is.
    renamed = [name for name in wanted if name not in node.attr and name not in dict(counts) and name != "name"]
    attributes = {name: name for name in wanted if name in node.attr}
    for name, number in counts:
        known = name if name in wanted else renamed.pop(0)
        if number is None:
            arguments[known] = left.pop(0)
        else:
            arguments[known], left = left[:number], left[number:]
    attributes |= dict(zip(renamed, _named_otherwise(node, wanted), strict=False))
    for name, known in attributes.items():
        if name not in arguments and known in node.attr:
            arguments[name] = read_attribute(node.attr[known])
    try:
        result = function(**arguments)
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise ArtifactError(f"TensorFlow refuses it: {' '.join(str(error).split())[:300]}") from None
    if result is None or isinstance(result, tf.Operation):
        return []
    if isinstance(result, list | tuple):
        return [part for item in result for part in (item if isinstance(item, list) else [item])]
    return [result]


def _named_otherwise(node: Any, wanted: Sequence[str]) -> list[str]:
    """Attributes that Python's function takes under another name."""
    schema = op_def_registry.get(node.op)
    inferred = {
        name
        for argument in (*schema.input_arg, *schema.output_arg)
        for name in (argument.type_attr, argument.number_attr, argument.type_list_attr)
    }
    return [item.name for item in schema.attr if item.name not in inferred and item.name not in wanted]


def _input_counts(node: Any) -> list[tuple[str, int | None]]:
    schema = op_def_registry.get(node.op)
    counts: list[tuple[str, int | None]] = []
    for argument in schema.input_arg:
        if argument.number_attr:
            counts.append((argument.name, int(node.attr[argument.number_attr].i)))
        elif argument.type_list_attr:
            counts.append((argument.name, len(node.attr[argument.type_list_attr].list.type)))
        else:
            counts.append((argument.name, None))
    return counts


def read_attribute(value: Any) -> Any:
    """An attribute of a node as Python has it."""
    kind = value.WhichOneof("value")
    readers: dict[str, Callable[[], Any]] = {
        "s": lambda: value.s.decode(),
        "i": lambda: int(value.i),
        "f": lambda: float(value.f),
        "b": lambda: bool(value.b),
        "type": lambda: tf.as_dtype(value.type),
        "shape": lambda: tf.TensorShape(value.shape),
        "tensor": lambda: tf.make_ndarray(value.tensor),
        "func": lambda: value.func.name,
        "list": lambda: _read_list(value.list),
    }
    return readers[kind]() if kind in readers else None


def _read_list(values: Any) -> list[Any]:
    for field, convert in (
        ("i", int),
        ("f", float),
        ("b", bool),
        ("s", bytes.decode),
        ("type", tf.as_dtype),
        ("shape", tf.TensorShape),
    ):
        if getattr(values, field):
            return [convert(item) for item in getattr(values, field)]
    return []
