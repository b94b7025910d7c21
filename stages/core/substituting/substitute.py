"""A frozen graph or SavedModel to one static function of builtin ops, and the list of what was replaced."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError
from stages.core.results.substitution import Substitution
from stages.core.substituting import crops, list_shapes, lists, loops, resizes, selections, whole_numbers
from stages.core.substituting.frozen import Frozen, check_loops
from stages.core.substituting.values import Value
from stages.core.substituting.walker import Rule, Walker

SUBSTITUTIONS: dict[str, str] = {
    "CropAndResize": "gathers from one table of cells",
    "CombinedNonMaxSuppression": "NonMaxSuppressionV4 for each class, then the best of all",
    "NonMaxSuppression": "NonMaxSuppressionV4 of static length",
    "NonMaxSuppressionV2": "NonMaxSuppressionV4 of static length",
    "NonMaxSuppressionV3": "NonMaxSuppressionV4 of static length",
    "NonMaxSuppressionV4": "NonMaxSuppressionV4 of static length",
    "NonMaxSuppressionV5": "NonMaxSuppressionV4, or V5 with a deviation, of static length",
    "DenseToDenseSetOperation": "comparison of all with all, sorted by one top-k",
    "SparseToDense": "the row's values",
    "Unique": "comparison of all with all",
    "Where": "one top-k over a mask",
    "While": "the body once for each turn",
    "StatelessWhile": "the body once for each turn",
    "If": "the branch that is taken",
    "StatelessIf": "the branch that is taken",
    "TensorListReserve": "plain tensors",
    "TensorListFromTensor": "plain tensors",
    "TensorListGetItem": "plain tensors",
    "TensorListSetItem": "plain tensors",
    "TensorListStack": "plain tensors",
    "TensorListLength": "a constant",
    "ResizeBicubic": "two matrix products with constants",
    "ResizeArea": "two matrix products with constants",
    "ResizeBilinear": "two matrix products with constants",
    "ResizeNearestNeighbor": "two gathers",
    "GatherV2 (batched)": "a gather from the flattened table",
    "Shape": "a constant, or a length that is carried along",
}
"""THE TABLE of what is replaced, by what; the rows themselves are in the modules that `RULES` joins."""

LOOPS = frozenset({"While", "StatelessWhile"})
MODULES = (crops, loops, selections, resizes, whole_numbers, list_shapes, lists)


def join_rules(own: Mapping[str, Rule] | None = None) -> dict[str, tuple[Rule, ...]]:
    """Rows by op, in the order in which they are tried: the user's own first."""
    joined: dict[str, tuple[Rule, ...]] = {}
    for module in MODULES:
        for op, rules in module.RULES.items():
            joined[op] = (*joined.get(op, ()), *rules)
    for op, rule in (own or {}).items():
        joined[op] = (rule, *joined.get(op, ()))
    return joined


@dataclass(frozen=True, kw_only=True, eq=False)
class Substituted:
    """A rewritten model.

    Attributes:
      function: Concrete function of the inputs that are left, by name, to the outputs, by name: static shapes, constant
        weights. An output whose length the image decides has its greatest length, zeros behind the real one, and a
        second output `<name>_length`, int32 [].
      replacements: What was replaced.
    """

    function: Any
    replacements: tuple[Substitution, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    frozen: Frozen
    bound: dict[str, np.ndarray]
    specs: dict[str, Any]
    outputs: dict[str, str]
    rules: dict[str, tuple[Rule, ...]]
    replaces: frozenset[str]


def substitute(
    frozen: Frozen,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    bound: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = (),
    own: Mapping[str, Rule] | None = None,
    images: Sequence[Mapping[str, np.ndarray]] = (),
) -> Substituted:
    """Rewrites a model.

    Args:
      frozen: The model.
      shapes: Static shapes of inputs, by name, for those that the model leaves open.
      bound: Values of inputs that become constants, by name: anchors, image meta.
      outputs: Which outputs to keep; all if empty.
      own: The user's own rows (`own_rows.load_own_rules`).
      images: Inputs to measure each replacement's error on, by name.

    Raises:
      ArtifactError: if names or shapes do not fit, or a part of the graph is covered by no row.
    """
    check_loops(frozen.graph, frozen.source)
    rules = join_rules(own)
    plan = _Plan(
        frozen=frozen,
        bound=_bind(frozen, bound or {}),
        specs=_specify(frozen, shapes or {}, bound or {}),
        outputs={name: frozen.outputs[name] for name in _known(frozen, outputs)},
        rules=rules,
        replaces=frozenset({*SUBSTITUTIONS, *(own or {})}),
    )
    walker, function, _ = _trace(plan, ())
    names = dict(SUBSTITUTIONS) | dict.fromkeys(own or {}, "a row of your own")
    errors = _measure(plan, walker, images) if images else {}
    found = tuple(
        Substitution(op=op, by=names[op], count=count, error=errors.get(op))
        for op, count in sorted(walker.counts.items())
    )
    return Substituted(function=function, replacements=found)


def _known(frozen: Frozen, outputs: Sequence[str]) -> Sequence[str]:
    unknown = [name for name in outputs if name not in frozen.outputs]
    if unknown:
        raise ArtifactError(f"{frozen.source}: no output {', '.join(unknown)}; it has {', '.join(frozen.outputs)}")
    return outputs or list(frozen.outputs)


def _bind(frozen: Frozen, bound: Mapping[str, Any]) -> dict[str, np.ndarray]:
    values = {}
    for name, value in bound.items():
        if name not in frozen.inputs:
            raise ArtifactError(f"{frozen.source}: no input {name!r}; it has {', '.join(frozen.inputs)}")
        _, shape, dtype = frozen.inputs[name]
        array = np.asarray(value, dtype.as_numpy_dtype)
        if not shape.is_compatible_with(array.shape):
            raise ArtifactError(f"{frozen.source}: input {name!r} is {shape}, the value bound to it {array.shape}")
        values[name] = array
    return values


def _specify(frozen: Frozen, shapes: Mapping[str, Sequence[int]], bound: Mapping[str, Any]) -> dict[str, Any]:
    specs = {}
    for name in shapes:
        if name not in frozen.inputs:
            raise ArtifactError(f"{frozen.source}: no input {name!r}; it has {', '.join(frozen.inputs)}")
    for name, (_, shape, dtype) in frozen.inputs.items():
        if name in bound:
            continue
        wanted = tf.TensorShape(shapes.get(name, shape))
        if not wanted.is_fully_defined():
            raise ArtifactError(f"{frozen.source}: input {name!r} is {shape}; state its shape, or bind a value to it")
        if not shape.is_compatible_with(wanted):
            raise ArtifactError(f"{frozen.source}: input {name!r} is {shape}, asked for {wanted}")
        specs[name] = tf.TensorSpec(wanted, dtype, name=name)
    if not specs:
        raise ArtifactError(f"{frozen.source}: all inputs are bound to values; one must take the image")
    return specs


def _trace(plan: _Plan, probes: Sequence[str]) -> tuple[Walker, Any, list[str]]:
    """Walks the graph in a new function; `probes`: nodes whose replaced outputs are returned too."""
    seen: list[tuple[Walker, list[str]]] = []

    def run(**inputs: Any) -> dict[str, Any]:
        walker = Walker(plan.frozen.library, plan.rules, plan.replaces)
        nodes = plan.frozen.inputs
        feeds = {nodes[name][0]: Value(raw=tensor) for name, tensor in inputs.items()}
        feeds |= {nodes[name][0]: Value(raw=array) for name, array in plan.bound.items()}
        values = walker.run_graph(plan.frozen.graph, feeds, list(plan.outputs.values()))
        results: dict[str, Any] = {}
        for name, value in zip(plan.outputs, values, strict=True):
            results |= _deliver(walker, name, value)
        probed = []
        for node in probes:
            for index, value in enumerate(walker.replaced[node][1]):
                # Of a loop, what its TensorLists hold is compared where they become tensors.
                if walker.replaced[node][0] in LOOPS or (value.raw is None and not isinstance(value, crops.Crops)):
                    continue
                probed.append(f"{node}:{index}")
                results |= _deliver(walker, f"probe_{len(probed)}", value)
        seen.append((walker, probed))
        return results

    function = tf.function(run, autograph=False).get_concrete_function(**plan.specs)
    return seen[-1][0], function, seen[-1][1]


def _deliver(walker: Walker, name: str, value: Value) -> dict[str, Any]:
    raw = tf.identity(walker.tensor(value), name=name)
    if value.axis is None or value.size is None:
        return {name: raw}
    shape = [1] * len(raw.shape)
    shape[value.axis] = raw.shape[value.axis]
    counts = tf.reshape(tf.range(raw.shape[value.axis]) < value.size.tensor, shape)
    return {name: tf.where(counts, raw, tf.zeros([], raw.dtype)), f"{name}_length": value.size.tensor}


def _measure(plan: _Plan, walker: Walker, images: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Greatest difference at the outputs of replaced nodes, by op."""
    _, function, probed = _trace(plan, list(walker.replaced))
    original = run_original(plan.frozen, plan.bound, probed)
    errors: dict[str, float] = {}
    for image in images:
        expected = original(image)
        found = function(**{name: tf.constant(value) for name, value in image.items()})
        for index, tensor in enumerate(probed, 1):
            op, values = walker.replaced[tensor.partition(":")[0]]
            value, wanted = values[int(tensor.rpartition(":")[2])], expected[index - 1]
            got = found[f"probe_{index}"].numpy()
            if value.axis is not None:
                got = np.take(got, range(int(found[f"probe_{index}_length"])), axis=value.axis)
            errors[op] = max(errors.get(op, 0.0), _difference(wanted, got))
    return errors


def _difference(wanted: np.ndarray, got: np.ndarray) -> float:
    if wanted.shape != got.shape:
        return math.inf
    return float(np.abs(wanted.astype(np.float64) - got.astype(np.float64)).max(initial=0.0))


def run_original(
    frozen: Frozen, bound: Mapping[str, np.ndarray], tensors: Sequence[str]
) -> Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]:
    """A function of the inputs that are left, by name, to the values of some tensors of the graph as it was."""

    graph = tf.Graph()
    with graph.as_default():
        tf.graph_util.import_graph_def(frozen.graph, name="")
    session = tf.compat.v1.Session(graph=graph)

    def run(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        values = {**inputs, **bound}
        return list(session.run(list(tensors), {f"{frozen.inputs[name][0]}:0": values[name] for name in frozen.inputs}))

    return run
