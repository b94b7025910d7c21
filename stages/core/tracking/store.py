"""Runs in MLflow: found by their key, made or completed, never made twice. The only import of mlflow.

`worker.prepare_environment` must have run before this module is imported: MLflow reads its switches then.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from mlflow.utils.validation import (
    MAX_METRICS_PER_BATCH,
    MAX_PARAM_VAL_LENGTH,
    MAX_PARAMS_TAGS_PER_BATCH,
    MAX_TAG_VAL_LENGTH,
)

from stages.core.base.errors import UserError
from stages.core.tracking.address import is_local
from stages.core.tracking.artifacts import count_bytes, send_artifacts
from stages.core.tracking.data_sets import DataSet
from stages.core.tracking.experiment import describe_experiment, open_experiment
from stages.core.tracking.model_store import log_model
from stages.core.tracking.outcome import Outcome, TrackingUnavailableError
from stages.core.tracking.registry import register_challenger
from stages.core.tracking.run_plan import Publication, RunPlan
from stages.core.tracking.views import plan_views, views_to_tags

KEY_TAG, CONTENT_TAG, PARENT_TAG = "run_key", "published_sha256", "mlflow.parentRunId"
CUT = "…"
MODEL_ALLOWANCE = 4_000_000
"""Bytes that logging a model takes as long as, beside its file: its code, a trial run, some requests."""
MAX_SAID = 500
"""Characters of an error that are shown: a proxy answers with a page."""

T = TypeVar("T")
Progress = Callable[[int], None]

_OUR_MISTAKES = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


@dataclass(frozen=True)
class Session:
    """One publication in progress.

    Attributes:
      progress: Called after each answer of the store, with the number of bytes that are sent to it next.
    """

    client: mlflow.MlflowClient
    experiment: str
    experiment_id: str
    progress: Progress


def publish_runs(publication: Publication, uri: str, progress: Progress = lambda upload: None) -> Outcome:
    """Makes the parent run and those below it, or completes what an earlier attempt or a stream left unfinished.

    The run of a training stays below the parent that it was first published with.

    Args:
      uri: Tracking store.
      progress: Called after each answer of the store, with the number of bytes that are sent to it next.

    Raises:
      TrackingUnavailableError: if the store cannot be reached or refuses.
      UserError: if the experiment was deleted, or a database driver is not installed.
    """
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiment_id = open_experiment(client, publication.experiment, publication.artifact_root)
        session = Session(client, publication.experiment, experiment_id, progress)
        progress(0)
        describe_experiment(client, experiment_id, views_to_tags(plan_views(publication)))
        progress(0)
        parent_id, outcome = publish_run(session, publication.parent, parent_id=None)
        for child in (*publication.trainings, *publication.children):
            child_id, done = publish_run(session, child, parent_id=parent_id)
            finish_run(session, child_id, child)
            outcome += done
        finish_run(session, parent_id, publication.parent)
    except ImportError as error:
        raise UserError(f"publish.tracking_uri: this kind of store needs a package that is absent: {error}") from None
    except MlflowException as error:
        # What a server says of a question need not come from MLflow: a proxy may have answered.
        if error.error_code in _OUR_MISTAKES and is_local(uri):
            raise
        raise TrackingUnavailableError(_first_line(error)) from error
    except UserError:
        raise
    except Exception as error:
        if is_local(uri) and not isinstance(error, OSError):
            raise
        # Whatever an answer that is none of MLflow's leads to in its client.
        raise TrackingUnavailableError(_first_line(error)) from error
    return outcome


def publish_run(session: Session, plan: RunPlan, *, parent_id: str | None) -> tuple[str, Outcome]:
    """Finds or makes one run, and gives it everything it does not have yet.

    Numbers of a run that an interrupted attempt began carry the run's own start time: sent twice, they are stored once.
    """
    found = find_run(session, plan.key)
    if found is not None and found.data.tags.get(CONTENT_TAG) == plan.content_sha256:
        return found.info.run_id, Outcome(unchanged=1)
    if found is None:
        tags = {KEY_TAG: plan.key} | ({PARENT_TAG: parent_id} if parent_id else {})
        began_ms = int((time.time() - plan.seconds) * 1000)
        run = session.client.create_run(session.experiment_id, start_time=began_ms, run_name=plan.name, tags=tags)
    else:
        run = found
        if parent_id and PARENT_TAG not in run.data.tags:
            session.client.set_tag(run.info.run_id, PARENT_TAG, parent_id)
            session.progress(0)
    was_complete = CONTENT_TAG in run.data.tags
    fill_run(session, run, plan, timestamp_ms=int(time.time() * 1000) if was_complete else run.info.start_time)
    session.client.set_tag(run.info.run_id, CONTENT_TAG, plan.content_sha256)
    session.progress(0)
    return run.info.run_id, Outcome(completed=1) if found is not None else Outcome(created=1)


def find_run(session: Session, key: str) -> Run | None:
    """The oldest run with a key that was not deleted."""
    runs = session.client.search_runs(
        [session.experiment_id],
        f"tags.{KEY_TAG} = '{key}'",
        run_view_type=ViewType.ACTIVE_ONLY,
        max_results=1,
        order_by=["attributes.start_time ASC"],
    )
    session.progress(0)
    return runs[0] if runs else None


def fill_run(session: Session, run: Run, plan: RunPlan, *, timestamp_ms: int) -> None:
    """Tags, parameters, model, numbers, curves and files of one run. A parameter that is there cannot change."""
    run_id, client = run.info.run_id, session.client
    params = [Param(k, cut(v, MAX_PARAM_VAL_LENGTH)) for k, v in plan.params.items() if k not in run.data.params]
    for some in batched(params, MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run_id, params=some)
        session.progress(0)
    tags = [RunTag(name, cut(value, MAX_TAG_VAL_LENGTH)) for name, value in plan.tags.items()]
    for tag_batch in batched(tags, MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run_id, tags=tag_batch)
        session.progress(0)
    log_data_sets(session, run, plan.data_sets)
    model_id = None
    if plan.model is not None:
        session.progress(count_bytes(plan.model.folder) + MODEL_ALLOWANCE)
        model_id = log_model(client, session.experiment_id, run_id, plan.model)
        if plan.model.competes:
            register_challenger(
                client,
                session.experiment,
                plan.model.name,
                model_id=model_id,
                run_id=run_id,
                sha256=plan.model.sha256,
            )
        session.progress(0)
    known = run.data.metrics if CONTENT_TAG in run.data.tags else {}
    metrics = (
        *numbers_to_metrics(plan, timestamp_ms, known, model_id),
        *curves_to_metrics(plan, run.info.start_time, known),
    )
    for metric_batch in batched(metrics, MAX_METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=metric_batch)
        session.progress(0)
    send_artifacts(client, run_id, run.data.tags, plan.artifacts, session.progress)


def finish_run(session: Session, run_id: str, plan: RunPlan) -> None:
    """Ends a run, as failed where the gate is red: a red row is published, and it shows."""
    status, info = "FAILED" if plan.failed else "FINISHED", session.client.get_run(run_id).info
    if info.status != status:
        session.client.set_terminated(run_id, status, info.end_time or info.start_time + int(plan.seconds * 1000))
    session.progress(0)


def numbers_to_metrics(
    plan: RunPlan, timestamp_ms: int, known: Mapping[str, float], model_id: str | None = None
) -> Iterator[Metric]:
    """Numbers at step 0, which are those of the run's model too.

    Args:
      known: Latest values of a run that was complete: what is the same is not sent again, which would double it.
    """
    for name, value in plan.metrics.items():
        if known.get(name) != value:
            yield Metric(name, value, timestamp_ms, 0, model_id=model_id)


def curves_to_metrics(plan: RunPlan, began_ms: int, known: Mapping[str, float]) -> Iterator[Metric]:
    """Every point of every curve at its own step and time.

    The time is that of the training, not of sending: points that were streamed are the same here, and MLflow keeps what
    is sent twice once.
    """
    for curve in plan.curves:
        if curve.points and known.get(curve.name) == curve.points[-1][1]:
            continue
        for step, value in curve.points:
            yield Metric(curve.name, value, began_ms + int(plan.clock.get(step, 0.0) * 1000), step)


def log_data_sets(session: Session, run: Run, data_sets: Sequence[DataSet]) -> None:
    """Notes what a run was made from or measured on, once."""
    known = {(entry.dataset.name, entry.dataset.digest) for entry in run.inputs.dataset_inputs}
    inputs = [
        DatasetInput(
            Dataset(data.name, data.digest, "local", data.source, profile=data.profile),
            [InputTag(MLFLOW_DATASET_CONTEXT, data.context)],
        )
        for data in data_sets
        if (data.name, data.digest) not in known
    ]
    if inputs:
        session.client.log_inputs(run.info.run_id, inputs)
        session.progress(0)


def cut(text: str, limit: int) -> str:
    """A text that MLflow takes, marked where it was cut."""
    return text if len(text) <= limit else text[: limit - len(CUT)] + CUT


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size` items."""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return cut(lines[0], MAX_SAID) if lines else type(error).__name__
