"""Runs of trainings in progress, in MLflow."""

import logging
import time
from typing import Any

import mlflow
from mlflow.entities import Param, RunTag
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.utils.validation import MAX_METRICS_PER_BATCH, MAX_PARAM_VAL_LENGTH

from stages.core.params.steps import PublishParams
from stages.core.tracking.address import artifact_root
from stages.core.tracking.experiment import open_experiment
from stages.core.tracking.run_plan import RunPlan
from stages.core.tracking.store import (
    KEY_TAG,
    Session,
    batched,
    curves_to_metrics,
    cut,
    find_run,
    log_data_sets,
)


class RunStream:
    """An MLflow experiment that takes numbers as they come."""

    def __init__(self, uri: str, params: PublishParams) -> None:
        """Opens the experiment, or makes it.

        Raises:
          UserError: if it was deleted.
          TrackingUnavailableError: if what answers is no MLflow.
        """
        for noisy in ("alembic", "mlflow"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        self._client = mlflow.MlflowClient(tracking_uri=uri)
        experiment_id = open_experiment(self._client, params.experiment, artifact_root(uri))
        self._session = Session(self._client, params.experiment, experiment_id, lambda upload: None)
        self._uri, self._with_system = uri, params.system_metrics
        self._monitors: dict[str, Any] = {}

    def open_run(self, plan: RunPlan, *, began_ms: int) -> tuple[str, int]:
        """The run of a training that has just begun, or goes on.

        Returns:
          Its id, and when it began in milliseconds since 1970: `began_ms` if it is new.
        """
        run = find_run(self._session, plan.key)
        if run is None:
            run = self._client.create_run(
                self._session.experiment_id, start_time=began_ms, run_name=plan.name, tags={KEY_TAG: plan.key}
            )
        run_id = str(run.info.run_id)
        params = [Param(k, cut(v, MAX_PARAM_VAL_LENGTH)) for k, v in plan.params.items() if k not in run.data.params]
        for some in batched(params, 100):
            self._client.log_batch(run_id, params=some)
        self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in plan.tags.items()])
        log_data_sets(self._session, run, plan.data_sets)
        if run.info.status != "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        if self._with_system:
            self._monitors[run_id] = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=self._uri)
            self._monitors[run_id].start()
        return run_id, int(run.info.start_time)

    def send_curves(self, run_id: str, plan: RunPlan, began_ms: int) -> None:
        """Sends points as `publish` would: what is sent twice is stored once."""
        for some in batched(curves_to_metrics(plan, began_ms, known={}), MAX_METRICS_PER_BATCH):
            self._client.log_batch(run_id, metrics=some)

    def end_run(self, run_id: str, status: str) -> None:
        """Ends a run now, as `FINISHED` or `KILLED`."""
        if monitor := self._monitors.pop(run_id, None):
            monitor.finish()
        self._client.set_terminated(run_id, status, int(time.time() * 1000))
