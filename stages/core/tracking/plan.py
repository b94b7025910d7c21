"""What is published, as plain values: one parent run, and one child per model and scheme."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages.core.base.errors import ArtifactError
from stages.core.base.hashing import hash_file, hash_files, hash_value
from stages.core.base.layout import (
    INTERFACE_FILE,
    LABEL_LIST_FILE,
    MARKDOWN_FILE,
    PAGE_FILE,
    PROOF_FILE,
    RESULT_FILE,
    Layout,
)
from stages.core.base.versions import read_versions
from stages.core.gating.gate import failures
from stages.core.params.tree import Params, load_yaml
from stages.core.reporting.collect import Cell, check_complete, read_cells, read_metrics
from stages.core.reporting.curves import Curve
from stages.core.reporting.devices import device_facts
from stages.core.reporting.trainings import read_training_curves, read_trainings
from stages.core.results.table import Metrics, Row
from stages.core.results.training import TrainResult
from stages.core.tables.schemes import SCHEMES
from stages.core.tracking.address import artifact_root
from stages.core.tracking.model_plan import ModelPlan, plan_model
from stages.core.tracking.numbers import cell_to_numbers, clean_name, init_numbers
from stages.core.tracking.state import UNKNOWN, ProjectState

JUDGING_SECTIONS = ("gate", "report", "publish")
"""Sections of params.yaml on which no measured number depends."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """One run to be found or made.

    Attributes:
      name: What the tracking UI shows.
      key: What it is found by.
      content_sha256: Hash of what was measured; a run that holds it already is left alone.
      params, metrics, tags: By name.
      curves: Numbers over steps.
      model: What is logged as an MLflow model; None for a run without one.
      artifacts: Local file or folder, and the folder it goes to.
      failed: Whether the gate is red: the run is then marked as failed.
      seconds: How long the work behind it took: MLflow's table shows that as its duration, not how long sending took.
    """

    name: str
    key: str
    content_sha256: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    curves: tuple[Curve, ...] = ()
    model: ModelPlan | None = None
    artifacts: tuple[tuple[Path, str], ...]
    failed: bool
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A parent run and its children."""

    experiment: str
    artifact_root: str | None
    parent: RunPlan
    children: tuple[RunPlan, ...]


def plan_publication(layout: Layout, state: ProjectState, params: Params, uri: str) -> Publication:
    """Everything that the results say, as runs.

    Args:
      uri: Tracking store.

    Raises:
      MissingResultError: if a stage has not run.
      ArtifactError: if a model file is not the one that was measured.
    """
    metrics = read_metrics(layout)
    check_complete(metrics, params.models, params.schemes)
    cells = read_cells(layout, params.models, params.schemes)
    rows = {(row.model, row.scheme): row for row in metrics.rows}
    tree = load_yaml(layout.params)
    trainings = read_trainings(layout, params.models)
    shared = {section: value for section, value in tree.items() if section != "train"}
    return Publication(
        experiment=params.publish.experiment,
        artifact_root=artifact_root(uri),
        parent=plan_parent(
            layout,
            state,
            metrics,
            tree,
            trainings=trainings,
            curves=read_training_curves(layout, trainings),
        ),
        children=tuple(
            plan_child(
                layout,
                state,
                cell,
                rows[cell.model, cell.scheme],
                {**shared, "train": resolved_training(params, cell.model)},
                split=layout.split(params.validation.split),
            )
            for cell in cells
        ),
    )


def plan_parent(
    layout: Layout,
    state: ProjectState,
    metrics: Metrics,
    params: Mapping[str, Any],
    trainings: Mapping[str, TrainResult],
    curves: Mapping[str, tuple[Curve, ...]],
) -> RunPlan:
    """The run of a whole state of the project: parameters, training curves by model, report and pictures.

    Args:
      params: params.yaml as a tree.
      trainings, curves: By model, or model and variant; a curve is published below both.
    """
    red = len(failures(metrics))
    report = [path for path in sorted(layout.report.iterdir()) if path.name != "pictures"]
    pictures = [(path, "pictures") for path in sorted((layout.report / "pictures").glob("*"))]
    inputs = [(path, "inputs") for path in (layout.params, layout.dvc_lock) if path.exists()]
    numbers = {"rows": float(len(metrics.rows)), "rows_red": float(red)}
    for result in trainings.values():
        path = f"{result.model}/{result.variant}"
        numbers |= {f"{path}/{name}": value for name, value in result.validation.items() if value is not None}
        if result.initialization:
            numbers |= {f"{path}/{name}": value for name, value in init_numbers(result.initialization).items()}
    described = (layout.report / MARKDOWN_FILE).read_text() if (layout.report / MARKDOWN_FILE).exists() else ""
    models = list(dict.fromkeys(row.model for row in metrics.rows))
    return RunPlan(
        name=f"{' + '.join(models)} ({state.experiment or state.key.removeprefix('metrics-')[:8]})",
        key=f"parent:{state.key}",
        content_sha256=hash_value([asdict(metrics), numbers, hash_file(layout.report / PAGE_FILE)]),
        params=measuring_settings(params),
        metrics=numbers,
        tags={
            "role": "parent",
            **judging_settings(params),
            "gate": "red" if red else "green",
            "split": metrics.split,
            "mlflow.note.content": described,
            **_init_tags(trainings),
            **{f"device.{clean_name(label)}": fact for label, fact in device_facts(metrics.devices).items()},
            **_versions(*(result.versions for result in trainings.values())),
            **_state_tags(state),
        },
        curves=tuple(
            Curve(clean_name(f"{result.model}/{result.variant}/{curve.name}"), curve.points)
            for name, result in trainings.items()
            for curve in curves[name]
        ),
        artifacts=(*((path, "report") for path in report), *pictures, *inputs, *_training_records(layout, trainings)),
        failed=red > 0,
        seconds=sum(result.seconds for result in trainings.values()),
    )


def resolved_training(params: Params, model: str) -> dict[str, Any]:
    """The settings that a model was trained with; none for one that was brought."""
    return {} if model in params.brought else params.train_settings(model).model_dump(mode="json")


def plan_child(
    layout: Layout, state: ProjectState, cell: Cell, row: Row, params: Mapping[str, Any], *, split: Path
) -> RunPlan:
    """The run of one model in one scheme: every number, and the files it was measured on.

    Args:
      params: params.yaml as a tree, with this model's own resolved settings as `train`.
      split: Folder of the evaluation split.

    Raises:
      ArtifactError: if the model file is not the one that was measured.
    """
    scheme = SCHEMES[cell.scheme]
    records = (cell.conversion, cell.validation, cell.benchmark)
    measured = hash_value([asdict(record) for record in records])
    about = {"scheme.name": scheme.name, "scheme.weights": scheme.weights, "scheme.activations": scheme.activations}
    return RunPlan(
        name=f"{cell.name} ({state.experiment})" if state.experiment else cell.name,
        key=f"child:{hash_value([state.key, cell.model, cell.scheme, measured])}",
        content_sha256=hash_value(
            [measured, row.verdict, row.verdict_reasons, row.unsure_fails, judging_settings(params), row.devices]
        ),
        params={"model": cell.model, **about, **measuring_settings(params)},
        metrics=cell_to_numbers(cell, row),
        tags={
            "role": "child",
            **judging_settings(params),
            "model": cell.model,
            "scheme": cell.scheme,
            "backend": row.backend,
            "source": row.source,
            "status": row.status.value,
            "verdict": row.verdict.value,
            "verdict_reasons": "; ".join(row.verdict_reasons),
            "artifact_sha256": row.sha256 or "none",
            "mlflow.note.content": "; ".join(row.verdict_reasons) or "passes the gate",
            **_versions(*(record.versions for record in (cell.conversion, cell.validation))),
            **_state_tags(state),
        },
        model=plan_model(cell, row, split, competes=not state.experiment),
        artifacts=_cell_files(layout, cell),
        failed=row.fails,
        seconds=cell.validation.seconds,
    )


def measuring_settings(tree: Mapping[str, Any]) -> dict[str, str]:
    """The settings that a run's numbers depend on: its parameters, which MLflow lets nobody change."""
    return flatten({section: value for section, value in tree.items() if section not in JUDGING_SECTIONS})


def judging_settings(tree: Mapping[str, Any]) -> dict[str, str]:
    """The others, as tags: a changed bound changes the verdict of a run, and makes no new one."""
    return flatten({section: value for section, value in tree.items() if section in JUDGING_SECTIONS}, "setting.")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A tree of settings as `section.key` to text; lists and empty mappings are written as JSON."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _cell_files(layout: Layout, cell: Cell) -> tuple[tuple[Path, str], ...]:
    files = [(cell.folder / INTERFACE_FILE, "model"), (cell.folder / PROOF_FILE, "model")]
    # Files that were converted before there was one have none.
    files += [(path, "model") for path in [cell.folder / LABEL_LIST_FILE] if path.is_file()]
    if cell.conversion.artifact:
        models = [cell.folder / name for name in (cell.conversion.artifact, *cell.conversion.companions)]
        for model in models:
            if not model.is_file():
                raise ArtifactError(f"{model}: no such file; run `convert` again (or `dvc checkout`)")
        if hash_files(models) != cell.conversion.sha256:
            raise ArtifactError(f"{models[0]}: not the file that was measured (sha256 differs); run `dvc repro`")
        files = [*((model, "model") for model in models), *files]
    files += [
        (cell.folder / RESULT_FILE, "results/conversion"),
        (layout.validated(cell.model, cell.scheme), "results/validation"),
        (layout.benchmarked(cell.model, cell.scheme), "results/benchmark"),
    ]
    return tuple((path, folder) for path, folder in files if path.exists())


def _init_tags(trainings: Mapping[str, TrainResult]) -> dict[str, str]:
    """What each training started from, and what it took of that."""
    return {
        f"init.{clean_name(name)}": f"{record.source} ({record.kind}): "
        + "; ".join(f"{part.part} {part.loaded} of {part.variables}" for part in record.parts)
        for name, result in trainings.items()
        if (record := result.initialization)
    }


def _training_records(layout: Layout, trainings: Mapping[str, TrainResult]) -> tuple[tuple[Path, str], ...]:
    """result.json of each training that started from an init checkpoint: the whole table of what was loaded."""
    return tuple(
        (layout.variant(result.model, result.variant) / RESULT_FILE, f"trainings/{result.model}/{result.variant}")
        for result in trainings.values()
        if result.initialization
    )


def _state_tags(state: ProjectState) -> dict[str, str]:
    commit = {} if state.git_sha == UNKNOWN else {"mlflow.source.git.commit": state.git_sha}
    lock = {"dvc_lock_sha256": state.dvc_lock_sha256} if state.dvc_lock_sha256 else {"no_dvc_lock": state.key}
    experiment = {"dvc_experiment": state.experiment} if state.experiment else {}
    return {"git_sha": state.git_sha, "git_dirty": str(state.git_dirty).lower(), **commit, **lock, **experiment}


def _versions(*found: Mapping[str, str]) -> dict[str, str]:
    merged = read_versions("dvc", "mlflow")
    for versions in found:
        merged |= versions
    return {f"version.{clean_name(name)}": version for name, version in sorted(merged.items())}
