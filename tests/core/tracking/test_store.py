import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.core.base.errors import UserError
from stages.core.reporting.curves import Curve
from stages.core.tracking.data_sets import DataSet
from stages.core.tracking.outcome import Outcome
from stages.core.tracking.publish import prepare_environment
from stages.core.tracking.run_plan import Publication, RunPlan

prepare_environment(timeout_s=20)
mlflow = pytest.importorskip("mlflow")
store = pytest.importorskip("stages.core.tracking.store")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make its tables: made once, copied for each test."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(empty_database: Path, tmp_path: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def run_plan(name: str, **changes: Any) -> RunPlan:
    base = RunPlan(
        name=name,
        key=f"key of {name}",
        content_sha256="one",
        params={"steps": "900", "long": "x" * 7000},
        metrics={"box_ap": 64.3},
        tags={"role": "child", "note": "y" * 9000},
        artifacts=(),
        failed=False,
    )
    return replace(base, **changes)


@pytest.fixture
def publication(tmp_path: Path) -> Publication:
    file, folder = tmp_path / "model.tflite", tmp_path / "pictures"
    file.write_bytes(b"model")
    folder.mkdir()
    (folder / "1.jpg").write_bytes(b"picture")
    curve = Curve("m/train/total_loss", tuple((step, 1.0 / step) for step in range(1, 2501)))
    return Publication(
        experiment="detectors",
        artifact_root=(tmp_path / "mlartifacts").as_uri(),
        parent=run_plan("parent", curves=(curve,), artifacts=((folder, "report"),)),
        children=(run_plan("m/float32", artifacts=((file, "model"),)), run_plan("m/int8", failed=True)),
    )


def runs_of(uri: str) -> dict[str, Any]:
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("detectors")
    runs = client.search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in runs}) == len(runs), "a run is there twice"
    return {run.info.run_name: run for run in runs}


def test_runs_are_nested_and_hold_what_was_planned(uri: str, publication: Publication, tmp_path: Path) -> None:
    assert store.publish_runs(publication, uri) == Outcome(created=3)
    runs, client = runs_of(uri), mlflow.MlflowClient(tracking_uri=uri)
    parent = runs["parent"]
    assert runs["m/int8"].data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert runs["m/float32"].data.metrics == {"box_ap": 64.3}
    history = client.get_metric_history(parent.info.run_id, "m/train/total_loss")
    assert [(point.step, point.value) for point in sorted(history, key=lambda p: p.step)][:2] == [(1, 1.0), (2, 0.5)]
    assert len(history) == 2500
    assert (
        tmp_path / "mlartifacts" / parent.info.run_id / "artifacts/report/pictures/1.jpg"
    ).read_bytes() == b"picture"
    assert client.list_artifacts(runs["m/float32"].info.run_id, "model")[0].path == "model/model.tflite"
    assert parent.info.artifact_uri.startswith((tmp_path / "mlartifacts").as_uri())


def test_long_values_are_cut_and_marked(uri: str, publication: Publication) -> None:
    store.publish_runs(publication, uri)
    run = runs_of(uri)["m/float32"]
    assert len(run.data.params["long"]) == 6000
    assert run.data.params["long"].endswith("…")
    assert len(run.data.tags["note"]) == 8000


def test_red_rows_end_as_failed(uri: str, publication: Publication) -> None:
    store.publish_runs(publication, uri)
    status = {name: run.info.status for name, run in runs_of(uri).items()}
    assert status == {"parent": "FINISHED", "m/float32": "FINISHED", "m/int8": "FAILED"}


def test_publishing_twice_adds_nothing(uri: str, publication: Publication, tmp_path: Path) -> None:
    store.publish_runs(publication, uri)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "mlartifacts").rglob("*")}
    assert store.publish_runs(publication, uri) == Outcome(unchanged=3)
    assert len(runs_of(uri)) == 3
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "mlartifacts").rglob("*")} == before


@pytest.mark.parametrize("answers", [1, 2, 4, 6, 8, 11, 14])
def test_an_interrupted_publication_is_completed_by_the_next(answers: int, uri: str, publication: Publication) -> None:
    def stop_after(upload: int, left: list[int] = [answers]) -> None:  # noqa: B006 (counts down over calls)
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.publish_runs(publication, uri, progress=stop_after)
    outcome = store.publish_runs(publication, uri)
    assert outcome.created + outcome.completed + outcome.unchanged == 3
    runs, client = runs_of(uri), mlflow.MlflowClient(tracking_uri=uri)
    assert {run.info.status for run in runs.values()} == {"FINISHED", "FAILED"}
    assert len(client.get_metric_history(runs["parent"].info.run_id, "m/train/total_loss")) == 2500
    assert len(client.get_metric_history(runs["m/int8"].info.run_id, "box_ap")) == 1


def test_new_results_of_the_same_state_bring_the_parent_up_to_date(uri: str, publication: Publication) -> None:
    store.publish_runs(publication, uri)
    parent = replace(publication.parent, content_sha256="two", metrics={"box_ap": 10.0}, params={"steps": "1"})
    assert store.publish_runs(replace(publication, parent=parent), uri) == Outcome(completed=1, unchanged=2)
    run = runs_of(uri)["parent"]
    assert run.data.metrics["box_ap"] == 10.0
    assert run.data.params["steps"] == "900", "MLflow's parameters cannot change"


def test_a_deleted_experiment_is_named(uri: str, publication: Publication) -> None:
    store.publish_runs(publication, uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.delete_experiment(client.get_experiment_by_name("detectors").experiment_id)
    with pytest.raises(UserError, match=r"publish\.experiment: 'detectors' was deleted"):
        store.publish_runs(publication, uri)


def test_a_changed_verdict_makes_no_run_and_sends_no_file(uri: str, publication: Publication, tmp_path: Path) -> None:
    store.publish_runs(publication, uri)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "mlartifacts").rglob("*")}
    judged = tuple(
        replace(child, content_sha256="two", tags={**child.tags, "verdict": "fail"}, failed=True)
        for child in publication.children
    )
    sent: list[int] = []
    outcome = store.publish_runs(replace(publication, children=judged), uri, progress=sent.append)
    assert outcome == Outcome(completed=2, unchanged=1)
    assert sum(sent) == 0
    runs, client = runs_of(uri), mlflow.MlflowClient(tracking_uri=uri)
    assert len(runs) == 3
    for name in ("m/float32", "m/int8"):
        assert (runs[name].data.tags["verdict"], runs[name].info.status) == ("fail", "FAILED")
        assert len(client.get_metric_history(runs[name].info.run_id, "box_ap")) == 1
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "mlartifacts").rglob("*")} == before


def test_a_changed_file_is_sent(uri: str, publication: Publication, tmp_path: Path) -> None:
    store.publish_runs(publication, uri)
    (tmp_path / "model.tflite").write_bytes(b"another")
    child = publication.children[0]
    changed = replace(child, content_sha256="two", artifacts=(*child.artifacts, (tmp_path / "pictures", "shown")))
    store.publish_runs(replace(publication, children=(changed,)), uri)
    again: list[int] = []
    (tmp_path / "model.tflite").write_bytes(b"a third")
    changed = replace(changed, content_sha256="three")
    store.publish_runs(replace(publication, children=(changed,)), uri, progress=again.append)
    assert sum(again) == len(b"a third"), "the folder beside it has not changed"
    (stored,) = (tmp_path / "mlartifacts").rglob("model.tflite")
    assert stored.read_bytes() == b"a third"


def test_a_duration_is_that_of_the_work(uri: str, publication: Publication) -> None:
    store.publish_runs(replace(publication, parent=replace(publication.parent, seconds=600.0), children=()), uri)
    info = runs_of(uri)["parent"].info
    assert info.end_time - info.start_time == 600_000


def test_data_sets_are_noted_once(uri: str, publication: Publication) -> None:
    data = DataSet(name="bccd/val", digest="5" * 32, context="evaluation", source="{}", profile='{"num_images": 72}')
    child = replace(publication.children[0], data_sets=(data,))
    for content in ("one", "two"):
        store.publish_runs(replace(publication, children=(replace(child, content_sha256=content),)), uri)
    (found,) = runs_of(uri)["m/float32"].inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest, found.dataset.profile) == (data.name, data.digest, data.profile)
    assert [(tag.key, tag.value) for tag in found.tags] == [("mlflow.data.context", "evaluation")]
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiments = [client.get_experiment_by_name("detectors").experiment_id]
    filtered = client.search_runs(experiments, "dataset.name = 'bccd/val' AND dataset.digest = '" + "5" * 32 + "'")
    assert [run.info.run_name for run in filtered] == ["m/float32"]


def test_the_experiment_says_what_its_numbers_are_unless_the_user_does(uri: str, publication: Publication) -> None:
    client = mlflow.MlflowClient(tracking_uri=uri)

    def tags() -> dict[str, str]:
        store.publish_runs(publication, uri)
        return dict(client.get_experiment_by_name("detectors").tags)

    first = tags()
    assert "| `box_ap` | points |" in first["mlflow.note.content"]
    assert "box_ap" in first["mlflow.sharedViewState.files"]
    client.set_experiment_tag(client.get_experiment_by_name("detectors").experiment_id, "mlflow.note.content", "Ours")
    assert tags()["mlflow.note.content"] == "Ours"


def test_a_training_stays_below_its_first_state(uri: str, publication: Publication) -> None:
    training = run_plan("m/trained", seconds=60.0, curves=publication.parent.curves, clock={1: 0.5, 2500: 59.0})
    first = replace(publication, trainings=(training,), children=())
    store.publish_runs(first, uri)
    second = replace(first, parent=run_plan("another state"))
    assert store.publish_runs(second, uri) == Outcome(created=1, unchanged=1)
    runs, client = runs_of(uri), mlflow.MlflowClient(tracking_uri=uri)
    run = runs["m/trained"]
    assert run.data.tags["mlflow.parentRunId"] == runs["parent"].info.run_id
    assert run.info.end_time - run.info.start_time == 60_000
    points = client.get_metric_history(run.info.run_id, "m/train/total_loss")
    times = {point.step: point.timestamp - run.info.start_time for point in points}
    assert (times[1], times[2500]) == (500, 59_000)
