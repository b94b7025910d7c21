"""A project that was moved, or copied: MLflow finds the files of all runs beside the database that lists them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.core.tracking.address import artifact_root, resolve_uri
from stages.core.tracking.moved import settle_moved
from stages.core.tracking.publish import prepare_environment
from stages.core.tracking.run_plan import Publication
from tests.builders import AWKWARD
from tests.core.tracking.test_store import empty_database, run_plan

prepare_environment(timeout_s=20)
mlflow = pytest.importorskip("mlflow")
store = pytest.importorskip("stages.core.tracking.store")

__all__ = ["empty_database"]


def uri_of(project: Path) -> str:
    return resolve_uri("sqlite:///mlflow.db", project, {})


def publish(project: Path, name: str) -> None:
    file, uri = project / "model.tflite", uri_of(project)
    file.write_bytes(name.encode())
    parent = run_plan(name, artifacts=((file, "model"),))
    publication = Publication(experiment="detectors", artifact_root=artifact_root(uri), parent=parent, children=())
    store.publish_runs(publication, uri)


@pytest.mark.parametrize(
    "names", [("before", "after"), ("plain", AWKWARD), (AWKWARD, "plain")], ids=["p", "to", "from"]
)
@pytest.mark.parametrize("move", [shutil.move, shutil.copytree], ids=["moved", "copied"])
def test_files_of_earlier_and_later_runs_are_beside_the_database(
    move: Callable[..., Any], names: tuple[str, str], empty_database: Path, tmp_path: Path
) -> None:
    before, after = (tmp_path / name for name in names)
    before.mkdir()
    shutil.copy(empty_database, before / "mlflow.db")
    publish(before, "first")
    assert settle_moved(uri_of(before)) == ""
    move(before, after)
    listed = sorted(before.rglob("*"))

    assert "the project was moved" in settle_moved(uri_of(after))
    assert settle_moved(uri_of(after)) == ""
    publish(after, "second")

    client = mlflow.MlflowClient(tracking_uri=uri_of(after))
    runs = client.search_runs([client.get_experiment_by_name("detectors").experiment_id])
    assert {run.info.run_name for run in runs} == {"first", "second"}
    for run in runs:
        assert [file.path for file in client.list_artifacts(run.info.run_id, "model")] == ["model/model.tflite"]
        assert run.info.artifact_uri.startswith(f"{(after / 'mlartifacts').as_uri()}/")
    assert sorted(before.rglob("*")) == listed, "nothing is made at the old path"


@pytest.mark.parametrize("uri", ["http://host:5000", "sqlite:////nowhere/mlflow.db", "file:///somewhere"])
def test_other_stores_are_left_alone(uri: str) -> None:
    assert settle_moved(uri) == ""


def test_files_that_the_user_keeps_elsewhere_stay_there(empty_database: Path, tmp_path: Path) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    client = mlflow.MlflowClient(tracking_uri=uri_of(tmp_path))
    locations = {"disk": (tmp_path / "big-disk").as_uri(), "bucket": "s3://bucket/mlartifacts"}
    for name, location in locations.items():
        client.create_experiment(name, location)
    assert settle_moved(uri_of(tmp_path)) == ""
    assert {name: client.get_experiment_by_name(name).artifact_location for name in locations} == locations
