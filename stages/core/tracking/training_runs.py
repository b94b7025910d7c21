"""The run of one training: the same while it is in progress and once it is published."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from stages.core.base.hashing import hash_value
from stages.core.reporting.curves import Curve, entries_to_curves
from stages.core.results.history import Entry, History
from stages.core.results.training import TrainingStart, TrainResult
from stages.core.tracking.data_sets import DataSet
from stages.core.tracking.numbers import clean_name, init_numbers, shorten
from stages.core.tracking.run_plan import RunPlan
from stages.core.tracking.settings import flatten

ROLE = "training"
NAMES = {
    "train/training_loss": None,  # always equal to total_loss
    "train/steps_per_second": None,  # of earlier trainings: images_per_second says it
    "validation/validation_loss": "validation/total_loss",
}
"""Curve of a history to its name in MLflow; None: not published. The others keep their names."""


def training_run_key(start: TrainingStart, history: History) -> str:
    """What the run of a training is found by.

    The first entry tells apart trainings of one configuration, as after a change of code: it holds a time.
    """
    first = history.train[0] if history.train else {}
    began = [float(first.get(name) or 0.0) for name in ("step", "seconds")]
    return f"training:{hash_value([start.model, start.variant, start.config_sha256, began])}"


def plan_started(start: TrainingStart, history: History, data_sets: tuple[DataSet, ...], experiment: str) -> RunPlan:
    """The run of a training in progress, without its numbers.

    Args:
      experiment: Name of the DVC experiment; empty outside of one.
    """
    name = f"{start.model}/{start.variant}"
    return RunPlan(
        name=f"{name} ({experiment})" if experiment else name,
        key=training_run_key(start, history),
        content_sha256="",
        params={
            "model": start.model,
            "variant": start.variant,
            **flatten(start.settings, "train."),
            **flatten(start.refinement, "refinement."),
        },
        metrics={},
        tags={
            "role": ROLE,
            "model": start.model,
            "variant": start.variant,
            **({"dvc_experiment": experiment} if experiment else {}),
        },
        data_sets=data_sets,
        artifacts=(),
        failed=False,
    )


def plan_finished(
    started: RunPlan,
    result: TrainResult,
    history: History,
    tags: Mapping[str, str],
    artifacts: tuple[tuple[Path, str], ...],
) -> RunPlan:
    """The whole run of a training: `started` with curves, numbers and what else the result says.

    The AP of the weights that were kept is a point of the curve; it is in the description, not a number twice.

    Args:
      tags: What is known of the code and of versions; they stay those of the first publication.
    """
    record = result.initialization
    kept = ", ".join(
        f"{name} {value:.1f}" for name in ("box_ap", "mask_ap") if (value := result.validation.get(name)) is not None
    )
    said = f"{kept or 'no AP'} on val, weights of step {result.best_step} of {result.steps}"
    from_checkpoint = {}
    if record:
        parts = "; ".join(f"{part.part} {part.loaded} of {part.variables}" for part in record.parts)
        from_checkpoint = {"init": f"{record.source} ({record.kind}): {parts}"}
    return RunPlan(
        name=started.name,
        key=started.key,
        content_sha256=hash_value([asdict(result), asdict(history)]),
        params=started.params,
        metrics={"best_step": float(result.best_step)} | (init_numbers(record) if record else {}),
        tags={**started.tags, "mlflow.note.content": said, **from_checkpoint, **tags},
        curves=history_to_curves(history),
        clock=history_to_clock(history),
        data_sets=started.data_sets,
        artifacts=artifacts if record else (),
        failed=False,
        seconds=result.seconds,
    )


def history_to_curves(history: History) -> tuple[Curve, ...]:
    """Every number of a history over the steps, each once.

    `train/model_loss` is the loss without regularization. Where an optimizer's weight decay replaces that, the two are
    one number, and only `train/total_loss` is left.
    """
    train = tuple(_without_equal_loss(entry) for entry in history.train)
    curves = (*entries_to_curves("train", train), *entries_to_curves("validation", history.validation))
    renamed = ((NAMES.get(curve.name, curve.name), curve.points) for curve in curves)
    return tuple(
        Curve(clean_name(name), tuple((step, shorten(value)) for step, value in points))
        for name, points in renamed
        if name is not None
    )


def _without_equal_loss(entry: Entry) -> Entry:
    is_equal = entry.get("model_loss") == entry.get("total_loss")
    return {name: value for name, value in entry.items() if not (is_equal and name == "model_loss")}


def history_to_clock(history: History) -> dict[int, float]:
    """Step to seconds of training before it; an evaluation has those of the last training entry up to its step."""
    clock = {int(entry["step"] or 0): float(entry.get("seconds") or 0.0) for entry in history.train}
    steps = sorted(clock)
    for entry in history.validation:
        step = int(entry["step"] or 0)
        before = bisect_right(steps, step)
        clock.setdefault(step, clock[steps[before - 1]] if before else 0.0)
    return clock
