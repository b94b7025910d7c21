"""Weights of a checkpoint into a model: all that is to be loaded is read and checked before the first value changes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import CheckpointError
from stages.core.results.training import InitializedPart, InitRecord
from stages.core.tables.detectors import DETECTORS, Detector
from stages.core.training.initializing.class_rows import ClassRows, carry_rows, share_classes, values_per_class
from stages.core.training.initializing.matching import describe_top
from stages.core.training.initializing.origin import InitCheckpoint
from stages.core.training.initializing.stored import StoredVariables
from stages.core.training.initializing.target import Target, blank_target, block_of, make_target

ABSENT = "not in the checkpoint"


@dataclass
class _Plan:
    """Values to be assigned, and why others are not.

    Attributes:
      values: Path to value.
      missing: Path to reason, of what has no value.
      partial: Path to what holds of a value that is not the checkpoint's alone.
      shifts: How many variances were moved by which difference of epsilons.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    partial: dict[str, str] = field(default_factory=dict)
    shifts: Counter[str] = field(default_factory=Counter)


def load_weights(
    model: Any, detector: Detector, init: InitCheckpoint, modules: str | Sequence[str], labels: Mapping[int, str]
) -> InitRecord:
    """Loads what of a checkpoint fits, and says for every part of the model what was loaded and what was not.

    A backbone is loaded whole or not at all. A difference of batch-norm epsilons is put into the variances, which is
    exact: `(x - mean) / sqrt(variance + epsilon)` stays what it was. Of a class head, the rows of the classes that the
    two have in common by name are loaded, and background's.

    Args:
      model: A Model Garden detector with all its variables.
      detector: Its row.
      init: The checkpoint.
      modules: `all`, or some of `backbone` and `decoder`.
      labels: Class id, from 1, to name, of the prepared data.

    Raises:
      CheckpointError: if the checkpoint is damaged, its backbone is another one, or nothing of it fits; the model is
        then as it was.
    """
    target = make_target(detector, model, modules, labels)
    stored = init.kind.open(init.path)
    names = init.kind.match(stored, target)
    _check_backbone(target, stored, names, init)
    rows = share_classes(init.labels, labels) if init.labels else None
    plan = _Plan()
    for path, variable in target.variables.items():
        name = names.get(path)
        if name is None:
            plan.missing[path] = ABSENT
        else:
            _plan_variable(plan, target, stored, path, name, variable, rows)
    _shift_variances(plan, target, stored, names, init)
    if not plan.values:
        raise CheckpointError(
            f"{init.path}: nothing in it fits {', '.join(target.parts)} (none of {len(target.variables)} variables; a "
            f"{init.kind.name}, {describe_top(stored)})"
        )
    for path, value in plan.values.items():
        target.variables[path].assign(tf.cast(value, target.variables[path].dtype))
    return _record(plan, target, stored, names, init, rows)


def _check_backbone(target: Target, stored: StoredVariables, names: Mapping[str, str], init: InitCheckpoint) -> None:
    """Raises unless the checkpoint's backbone is ours, or it has none."""
    wanted = {path: tuple(value.shape) for path, value in target.variables.items() if path.startswith("backbone/")}
    found = {path: stored.shapes[names[path]] for path in wanted if path in names}
    wrong = {path: shape for path, shape in found.items() if shape != wanted[path]}
    if not found or (len(found) == len(wanted) and not wrong):
        return
    lacking = [path for path in wanted if path not in found]
    first = next(iter(wrong), None)
    fault = (
        f"{first} is {list(wrong[first])} there and {list(wanted[first])} here" if first else f"{lacking[0]} is missing"
    )
    raise CheckpointError(
        f"{init.path}: the backbone in this {init.kind.name} is not {target.detector.name}'s "
        f"{target.detector.backbone} of this width: {len(wrong) + len(lacking)} of {len(wanted)} variables differ "
        f"({fault}); nothing was loaded. {_say_fitting(stored, init)}"
    )


def _say_fitting(stored: StoredVariables, init: InitCheckpoint) -> str:
    possible = init.kind.backbones(stored)
    rows = [row for row in DETECTORS.values() if not row.tiny and row.backbone in possible]
    one_of_each = {row.backbone: row for row in rows}
    fitting = {name for name, row in one_of_each.items() if _fits(init.kind.match, stored, blank_target(row))}
    names = [row.name for row in rows if row.backbone in fitting]
    return f"It fits {', '.join(names)}" if names else "It fits no row at its usual width"


def _fits(match: Callable[[StoredVariables, Target], dict[str, str]], stored: StoredVariables, target: Target) -> bool:
    """Whether a backbone is the checkpoint's."""
    try:
        names = match(stored, target)
    except CheckpointError:
        return False
    wanted = {path: tuple(value.shape) for path, value in target.variables.items()}
    return {path: stored.shapes[name] for path, name in names.items()} == wanted


def _plan_variable(
    plan: _Plan,
    target: Target,
    stored: StoredVariables,
    path: str,
    name: str,
    variable: Any,
    rows: ClassRows | None,
) -> None:
    shape, wanted = stored.shapes[name], tuple(variable.shape)
    per_class = values_per_class(target.detector.family, path)
    if per_class is not None and rows is not None and not rows.is_identity:
        value = carry_rows(stored.read(name), variable.numpy(), rows, per_class)
        if value is None:
            given = f"{rows.stored} classes with background"
            plan.missing[path] = f"{_differ(shape, wanted)}: other anchors, or not {given}"
            return
        plan.values[path] = value
        plan.partial[path] = "rows of the classes in common"
    elif shape != wanted:
        unknown = "; set init_labels to carry classes over by name" if per_class is not None and rows is None else ""
        plan.missing[path] = _differ(shape, wanted) + unknown
    else:
        plan.values[path] = stored.read(name)
        if per_class is not None and rows is None:
            plan.partial[path] = (
                "as many classes, names not known: taken to be the same (init_labels says what they are)"
            )


def _differ(stored: Sequence[int], wanted: Sequence[int]) -> str:
    return f"shape {list(stored)} in the checkpoint, {list(wanted)} here"


def _shift_variances(
    plan: _Plan, target: Target, stored: StoredVariables, names: Mapping[str, str], init: InitCheckpoint
) -> None:
    """Adds to each variance what its batch norm added in the checkpoint's model and does not add here."""
    for path in plan.values.keys() & target.epsilons.keys():
        said = stored.epsilons.get(names[path], init.epsilon_beside(path))
        epsilon = init.kind.epsilon(target, path) if said is None else said
        difference = epsilon - target.epsilons[path]
        if difference:
            plan.values[path] = np.asarray(plan.values[path], np.float64) + difference
            plan.shifts[f"{epsilon:g} there, {target.epsilons[path]:g} here"] += 1


def _record(
    plan: _Plan,
    target: Target,
    stored: StoredVariables,
    names: Mapping[str, str],
    init: InitCheckpoint,
    rows: ClassRows | None,
) -> InitRecord:
    parts: dict[str, list[str]] = {}
    for path in target.variables:
        parts.setdefault(block_of(target.detector.family, path), []).append(path)
    notes = list(stored.notes)
    notes += [f"{num} variances moved by the difference of epsilons ({what})" for what, num in plan.shifts.items()]
    own = target.detector.pixels
    if init.pixels is not None and init.pixels != own:
        notes.append(
            f"warning: trained on (pixel - {init.pixels.mean}) / {init.pixels.deviation}, {target.detector.name} sees "
            f"(pixel - {own.mean}) / {own.deviation}: its first layers must learn that anew"
        )
    shared = sorted(number for number in rows.source if number) if rows else []
    has_classes = any(values_per_class(target.detector.family, path) for path in plan.values)
    return InitRecord(
        source=init.source,
        kind=init.kind.name,
        sha256=init.sha256,
        parts=tuple(_describe_part(name, paths, plan) for name, paths in parts.items()),
        missing=plan.missing,
        class_names_from=init.labels_from if has_classes else "",
        classes=tuple(target.labels[number] for number in shared) if has_classes else (),
        notes=tuple(notes),
        unused=len(stored.shapes) - len({names[path] for path in plan.values}),
    )


def _describe_part(name: str, paths: Sequence[str], plan: _Plan) -> InitializedPart:
    reasons = Counter(plan.missing[path] for path in paths if path in plan.missing)
    reasons += Counter(plan.partial[path] for path in paths if path in plan.partial)
    texts = [f"{reason} ({num})" if len(reasons) > 1 else reason for reason, num in reasons.most_common(3)]
    return InitializedPart(
        part=name,
        variables=len(paths),
        loaded=sum(path in plan.values for path in paths),
        reason="; ".join(texts),
    )
