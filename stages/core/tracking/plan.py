"""What is published: one parent run, one run per training, and one child per model and scheme."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages.core.base.errors import ArtifactError
from stages.core.base.hashing import hash_file, hash_files, hash_value
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import (
    HISTORY_FILE,
    INTERFACE_FILE,
    LABEL_LIST_FILE,
    MARKDOWN_FILE,
    PAGE_FILE,
    PROOF_FILE,
    REFINEMENT_FILE,
    RESULT_FILE,
    Layout,
)
from stages.core.base.versions import read_versions
from stages.core.datasets.prepared import read_prepare_report
from stages.core.gating.gate import failures
from stages.core.params.tree import Params, load_yaml
from stages.core.reporting.collect import Cell, check_complete, read_cells, read_metrics
from stages.core.reporting.devices import device_facts
from stages.core.reporting.trainings import read_trainings
from stages.core.results.history import History, read_history
from stages.core.results.kinds import MAKERS, Variant
from stages.core.results.table import Metrics, Row
from stages.core.results.training import TrainingStart, TrainResult
from stages.core.tables.schemes import SCHEMES
from stages.core.tracking.address import artifact_root
from stages.core.tracking.data_sets import DataSet, plan_data_sets
from stages.core.tracking.model_plan import plan_model
from stages.core.tracking.numbers import cell_to_numbers, clean_name
from stages.core.tracking.run_plan import Publication, RunPlan
from stages.core.tracking.settings import judging_settings, measuring_settings
from stages.core.tracking.state import UNKNOWN, ProjectState
from stages.core.tracking.training_runs import plan_finished, plan_started


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
    prepared, split = read_prepare_report(layout.prepare_report), params.validation.split
    evaluated = plan_data_sets(prepared, params.prepare, (split,), {split: "evaluation"})
    fed = plan_data_sets(prepared, params.prepare, ("train",))
    used = plan_data_sets(prepared, params.prepare, ("train", "val"))
    return Publication(
        experiment=params.publish.experiment,
        artifact_root=artifact_root(uri),
        parent=plan_parent(layout, state, metrics, tree, trainings=trainings, data_sets=fed + evaluated),
        trainings=tuple(plan_training_run(layout, state, params, result, used) for result in trainings.values()),
        children=tuple(
            plan_child(
                layout,
                state,
                cell,
                rows[cell.model, cell.scheme],
                {**shared, "train": resolved_training(params, cell.model)},
                data_sets=evaluated,
                split=layout.split(split),
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
    data_sets: tuple[DataSet, ...],
) -> RunPlan:
    """The run of a whole state of the project: parameters, report and pictures.

    Args:
      params: params.yaml as a tree.
      trainings: By model, or model and variant.
    """
    red = len(failures(metrics))
    report = [path for path in sorted(layout.report.iterdir()) if path.name != "pictures"]
    pictures = [(path, "pictures") for path in sorted((layout.report / "pictures").glob("*"))]
    inputs = [(path, "inputs") for path in (layout.params, layout.dvc_lock) if path.exists()]
    described = (layout.report / MARKDOWN_FILE).read_text() if (layout.report / MARKDOWN_FILE).exists() else ""
    models = list(dict.fromkeys(row.model for row in metrics.rows))
    return RunPlan(
        name=f"{' + '.join(models)} ({state.experiment or state.key.removeprefix('metrics-')[:8]})",
        key=f"parent:{state.key}",
        content_sha256=hash_value([asdict(metrics), hash_file(layout.report / PAGE_FILE)]),
        params=measuring_settings(params),
        metrics={"rows": float(len(metrics.rows)), "rows_red": float(red)},
        tags={
            "role": "parent",
            **judging_settings(params),
            "gate": "red" if red else "green",
            "split": metrics.split,
            "mlflow.note.content": described,
            **{f"device.{clean_name(label)}": fact for label, fact in device_facts(metrics.devices).items()},
            **_versions(*(result.versions for result in trainings.values())),
            **_state_tags(state),
        },
        data_sets=data_sets,
        artifacts=(*((path, "report") for path in report), *pictures, *inputs),
        failed=red > 0,
        seconds=sum(result.seconds for result in trainings.values()),
    )


def plan_training_run(
    layout: Layout, state: ProjectState, params: Params, result: TrainResult, data_sets: tuple[DataSet, ...]
) -> RunPlan:
    """The run of one training: the one that was streamed, where it was.

    Raises:
      ArtifactError: if its history is damaged.
    """
    folder, variant = layout.variant(result.model, result.variant), Variant(result.variant)
    refinement = folder / REFINEMENT_FILE
    start = TrainingStart(
        model=result.model,
        variant=variant,
        config_sha256=result.config_sha256,
        data_sha256=result.data_sha256,
        settings=training_settings(params, result.model, variant),
        refinement=read_json(dict[str, Any], refinement) if refinement.is_file() else {},
    )
    history = read_history(folder / HISTORY_FILE) if (folder / HISTORY_FILE).is_file() else History()
    return plan_finished(
        plan_started(start, history, data_sets, state.experiment),
        result,
        history,
        {**_versions(result.versions), **_code_tags(state)},
        # The whole table of what an init checkpoint gave.
        ((folder / RESULT_FILE, "training"),),
    )


def training_settings(params: Params, model: str, variant: Variant) -> dict[str, Any]:
    """How a training trains, resolved, whatever sections of params.yaml say so."""
    settings = params.train_settings(model)
    if variant is not Variant.TRAINED:
        settings = params.refine_settings(model, getattr(params, MAKERS[variant]))
    return settings.model_dump(mode="json")


def resolved_training(params: Params, model: str) -> dict[str, Any]:
    """The settings that a model was trained with; none for one that was brought."""
    return {} if model in params.brought else params.train_settings(model).model_dump(mode="json")


def plan_child(
    layout: Layout,
    state: ProjectState,
    cell: Cell,
    row: Row,
    params: Mapping[str, Any],
    *,
    data_sets: tuple[DataSet, ...],
    split: Path,
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
        data_sets=data_sets,
        model=plan_model(cell, row, split, competes=not state.experiment),
        artifacts=_cell_files(layout, cell),
        failed=row.fails,
        seconds=cell.validation.seconds,
    )


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


def _state_tags(state: ProjectState) -> dict[str, str]:
    lock = {"dvc_lock_sha256": state.dvc_lock_sha256} if state.dvc_lock_sha256 else {"no_dvc_lock": state.key}
    experiment = {"dvc_experiment": state.experiment} if state.experiment else {}
    return {**_code_tags(state), **lock, **experiment}


def _code_tags(state: ProjectState) -> dict[str, str]:
    commit = {} if state.git_sha == UNKNOWN else {"mlflow.source.git.commit": state.git_sha}
    return {"git_sha": state.git_sha, "git_dirty": str(state.git_dirty).lower(), **commit}


def _versions(*found: Mapping[str, str]) -> dict[str, str]:
    merged = read_versions("dvc", "mlflow")
    for versions in found:
        merged |= versions
    return {f"version.{clean_name(name)}": version for name, version in sorted(merged.items())}
