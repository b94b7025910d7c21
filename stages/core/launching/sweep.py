"""Sweeps that people ask for: one parameter in several values, each a DVC experiment; ends in a table and a plot."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages.core.base.errors import UsageError
from stages.core.launching.experiment_series import Series, run_series
from stages.core.launching.experiments import publish_experiment
from stages.core.launching.run import project_environment, read_example
from stages.core.params.names import check_names
from stages.core.params.tree import merge_trees, parse_params
from stages.core.reporting.sweep_page import SweepPoint, points_to_markdown, render_sweep
from stages.core.tables.detectors import DETECTORS
from stages.core.tables.schemes import SCHEMES

Changes = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One row of the table of sweeps.

    Attributes:
      about: What varies, for `--help` and the plot's title.
      values: What is tried unless values are named.
      change: From a value as text, and the models, to parameters as `section.key` and values.
    """

    about: str
    values: tuple[str, ...]
    change: Callable[[str, Sequence[str]], Changes]


def _input_size(value: str, models: Sequence[str]) -> Changes:
    height, _, width = value.partition("x")
    size = [_number(height, int), _number(width or height, int)]
    return {f"train.{model}.input_size": size for model in models}


def _sparsity(value: str, models: Sequence[str]) -> Changes:
    return {"prune.target_sparsity": _number(value, float)}


def _backbone(value: str, models: Sequence[str]) -> Changes:
    try:
        check_names((value,), "model", DETECTORS)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return {"models": [value]}


def _anchors(value: str, models: Sequence[str]) -> Changes:
    if value == "fit":
        return {f"train.{model}.anchors.fit": True for model in models}
    size = _number(value, float)
    return {f"train.{model}.anchors.{key}": at for model in models for key, at in (("size", size), ("fit", False))}


def _width(value: str, models: Sequence[str]) -> Changes:
    return {f"train.{model}.width": _number(value, float) for model in models}


def _num_proposals(value: str, models: Sequence[str]) -> Changes:
    return {"export.num_proposals": _number(value, int)}


def _score_threshold(value: str, models: Sequence[str]) -> Changes:
    return {"export.score_threshold": _number(value, float)}


SWEEPS: dict[str, Sweep] = {
    "input_size": Sweep(
        about="input size in pixels: accuracy against latency",
        values=("320", "256", "192"),
        change=_input_size,
    ),
    "sparsity": Sweep(
        about="share of zeros after pruning; needs a scheme that starts from pruned weights",
        values=("0.3", "0.5", "0.7", "0.9"),
        change=_sparsity,
    ),
    "backbone": Sweep(
        about="detectors of the table, each trained with the settings of the first one in params",
        values=tuple(f"retinanet_mobiledet_{name}" for name in ("cpu", "edgetpu", "dsp", "gpu")),
        change=_backbone,
    ),
    "anchors": Sweep(
        about="size of the smallest anchor in strides, or fit: fitted to the data",
        values=("3", "4", "5", "fit"),
        change=_anchors,
    ),
    "width": Sweep(
        about="factor on the channels of a mobile backbone",
        values=("0.5", "0.75", "1.0"),
        change=_width,
    ),
    "num_proposals": Sweep(
        about="regions that Mask R-CNN's heads look at: accuracy against latency; trains once",
        values=("50", "100", "200", "500"),
        change=_num_proposals,
    ),
    "score_threshold": Sweep(
        about="lowest score of a detection in the file: accuracy against latency; trains once",
        values=("0.05", "0.01", "0.001"),
        change=_score_threshold,
    ),
}
"""Name to sweep: a new one is a new row."""
SHOW = "dvc exp show --only-changed --hide-workspace --drop '(stages|models|data)/.*'"
"""What varied and what came of it: without options there is a column for every parameter and dependency."""


def run_sweep(
    project: Path, name: str, values: Sequence[str], params: Path, folder: Path, say: Callable[[str], None]
) -> int:
    """Runs every value that is not done yet, publishes it to MLflow, and writes `sweep.html` and `sweep.md`.

    Args:
      name: Of the sweep.
      values: As text; empty: the sweep's own.
      params: Parameter file; what it does not name has the default of stages/core/params.
      folder: Made, or gone on with.
      say: Takes what is to be printed.

    Returns:
      0, or the status of the first experiment that failed; what was finished is in the plot all the same.

    Raises:
      ParamsError, UsageError: if a value is none, or makes the parameters invalid.
      DataError: if git or DVC fails.
    """
    sweep = SWEEPS[name]
    start = read_example(params)
    changes = {value: sweep.change(value, start["models"]) for value in values or sweep.values}
    tree = complete_tree(start, list(changes.values()))
    for value, change in changes.items():
        check_value(tree, change, f"{name} {value}")
    if name == "sparsity" and not any(SCHEMES[scheme].is_pruned for scheme in tree["schemes"]):
        pruned = ", ".join(row.name for row in SCHEMES.values() if row.is_pruned)
        raise UsageError(f"{params}: no scheme in use starts from pruned weights; add one of {pruned}")
    experiments = {experiment_name(name, value): to_overrides(change) for value, change in changes.items()}
    series = run_series(project, folder, tree, experiments, say)
    _publish(project, folder, series)
    points = [
        SweepPoint(value=value, row=row)
        for value in changes
        if (metrics := series.metrics.get(experiment_name(name, value))) is not None
        for row in metrics.rows
    ]
    (folder / "sweep.md").write_text(points_to_markdown(name, points))
    (folder / "sweep.html").write_text(render_sweep(name, sweep.about, points))
    say(points_to_markdown(name, points))
    say(f"plot: {folder / 'sweep.html'}")
    say(f"experiments: cd {shlex.quote(str(folder))} && {SHOW}")
    return series.status


def experiment_name(sweep: str, value: str) -> str:
    """What DVC and MLflow call one value: a name that git takes as a reference."""
    return f"{sweep}-{value}"


def complete_tree(tree: Mapping[str, Any], changes: Sequence[Changes]) -> dict[str, Any]:
    """The parameters with every key that a change names: DVC changes only what is there.

    Models that only a change names are trained as the first one of `models`.
    """
    complete = dict(tree)
    first = tree["train"].get(tree["models"][0], {})
    named = [model for change in changes for model in change.get("models", ())]
    complete["train"] = {**tree["train"], **{model: {**first, **tree["train"].get(model, {})} for model in named}}
    for change in reversed(changes):
        for key, value in change.items():
            if key != "models":
                complete = merge_trees(complete, _nest(key, value))
    return complete


def check_value(tree: Mapping[str, Any], change: Changes, what: str) -> None:
    """Raises ParamsError if the parameters are not valid with a change."""
    changed = dict(tree)
    for key, value in change.items():
        changed = merge_trees(changed, _nest(key, value))
    parse_params(changed)


def to_overrides(change: Changes) -> list[str]:
    """A change as `dvc exp run --set-param` takes it: `key=value`, the value in YAML's flow style."""
    return [f"{key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}" for key, value in change.items()]


def _nest(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def _number(text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"--values: {text!r} is no {'whole number' if kind is int else 'number'}") from None


def _publish(project: Path, folder: Path, series: Series) -> None:
    uri = project_environment(project)["MLFLOW_TRACKING_URI"]
    for name, commit in series.commits.items():
        print(f"{name}: ", end="", flush=True)
        publish_experiment(folder, name, commit, os.fspath(uri))
