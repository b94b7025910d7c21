"""The MLflow experiment that all runs go to."""

from collections.abc import Mapping

import mlflow

from stages.core.base.errors import UserError
from stages.core.tracking.metric_names import meanings_to_markdown
from stages.core.tracking.outcome import TrackingUnavailableError

KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"
"""Opens the experiment on its runs: MLflow's UI takes an experiment of unknown kind for one about language models."""
NOTE_TAG = "mlflow.note.content"
NOTE_HEAD = "Runs by their tag `role`: `parent` is a state of the project, `training` one training, `child` one file."
"""First line of our description; one that begins otherwise is the user's, and stays."""


def open_experiment(client: mlflow.MlflowClient, name: str, root: str | None) -> str:
    """Id of the experiment, made where there is none, with its files below `root` (None: where the server puts them).

    Raises:
      UserError: if it was deleted: runs in it would be invisible.
      TrackingUnavailableError: if what answers is no MLflow.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, root, tags={KIND_TAG: KIND}))
    if not found.experiment_id:
        raise TrackingUnavailableError("the answer to the first question names no experiment: is this MLflow's server?")
    if found.lifecycle_stage != "active":
        raise UserError(
            f"publish.experiment: {name!r} was deleted in MLflow; restore it (`mlflow experiments restore "
            f"--experiment-id {found.experiment_id}`) or choose another name"
        )
    return str(found.experiment_id)


def describe_experiment(client: mlflow.MlflowClient, experiment_id: str, views: Mapping[str, str]) -> None:
    """Says what the runs and their numbers are, and gives the experiment its views; what is there already stays.

    Args:
      views: Tags of the views.
    """
    known = client.get_experiment(experiment_id).tags
    tags = dict(views)
    if known.get(NOTE_TAG, NOTE_HEAD).startswith(NOTE_HEAD):
        tags[NOTE_TAG] = f"{NOTE_HEAD}\n\n{meanings_to_markdown()}"
    for name, value in tags.items():
        if known.get(name) != value:
            client.set_experiment_tag(experiment_id, name, value)
