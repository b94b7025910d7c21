"""Models in MLflow: logged once for each run, and found again."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.models import Model

from stages.core.predicting.requests import FOLDER_ARTIFACT, SCORE_THRESHOLD
from stages.core.tracking.model_plan import ModelPlan, write_code

MODEL_TYPE = "detector"


def log_model(client: mlflow.MlflowClient, experiment_id: str, run_id: str, plan: ModelPlan) -> str:
    """Logs the model of a run unless it is there, and returns its id. One that was left unfinished is made anew.

    The model is a pyfunc from code: `mlflow.pyfunc.load_model(f"models:/{id}")` runs `detector_model.py` and opens the
    converted file; `runs:/<run id>/<name>` finds it as well.
    """
    for found in client.search_logged_models([experiment_id], f"source_run_id = '{run_id}' AND name = '{plan.name}'"):
        if found.status == LoggedModelStatus.READY:
            return str(found.model_id)
        client.delete_logged_model(found.model_id)
    model = client.create_logged_model(experiment_id, plan.name, source_run_id=run_id, model_type=MODEL_TYPE)
    with tempfile.TemporaryDirectory() as folder:
        content = Path(folder) / "model"
        save_model(plan, content, Model(run_id=run_id, model_uuid=model.model_id, model_id=model.model_id))
        client.log_model_artifacts(model.model_id, str(content))
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)


def save_model(plan: ModelPlan, folder: Path, description: Model) -> None:
    """Writes the model's folder: MLmodel, the converted folder, code, signature, example, requirements."""
    with tempfile.TemporaryDirectory() as code:
        script, package = write_code(Path(code))
        with importable(package):
            mlflow.pyfunc.save_model(
                folder,
                mlflow_model=description,
                python_model=str(script),
                artifacts={FOLDER_ARTIFACT: str(plan.folder.resolve())},
                code_paths=[str(package)],
                pip_requirements=list(plan.requirements),
                # Running it once tells the types of the answer.
                input_example=([plan.example], {"score_threshold": SCORE_THRESHOLD}),
            )
    for leftover in folder.rglob("__pycache__"):
        shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def importable(package: Path) -> Iterator[None]:
    """Lets a package be imported within the block, and forgets it then: its files are temporary."""
    sys.path.insert(0, str(package.parent))
    try:
        yield
    finally:
        sys.path.remove(str(package.parent))
        for name in [name for name in sys.modules if name.partition(".")[0] == package.name]:
            del sys.modules[name]
