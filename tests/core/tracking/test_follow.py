"""Streaming: what follows a training never disturbs it, and `publish` goes on with the same run."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stages.core.base.jsonfile import write_json
from stages.core.base.layout import HISTORY_FILE, HISTORY_LINES, RESULT_FILE, START_FILE, Layout
from stages.core.launching.following import followed
from stages.core.params.steps import PublishParams
from stages.core.params.tree import load_params
from stages.core.results.training import TrainingStart
from stages.core.tracking import follow
from stages.core.tracking.follow import Follower, find_running
from stages.core.tracking.outcome import Outcome
from stages.core.tracking.plan import plan_publication
from stages.core.tracking.publish import prepare_environment
from stages.core.tracking.state import read_state
from stages.report import main as report
from tests.builders import SHA, history, train_result, write_project
from tests.mlflow_server import running_server

prepare_environment(timeout_s=20)
mlflow = pytest.importorskip("mlflow")
store = pytest.importorskip("stages.core.tracking.store")

ROOT = Path(__file__).resolve().parents[3]
MODEL = "retinanet_mobiledet_edgetpu"


class Training:
    """A training in progress, as far as its files show it."""

    def __init__(self, layout: Layout, pid: int) -> None:
        self.layout, self.folder = layout, layout.work / MODEL / "0123456789abcdef"
        self.folder.mkdir(parents=True)
        self.history = history()
        settings = load_params(layout.root).train_settings(MODEL).model_dump(mode="json")
        start = TrainingStart(
            model=MODEL, variant="trained", config_sha256=SHA, data_sha256=SHA, pid=pid, settings=settings
        )
        write_json(start, self.folder / START_FILE)

    def reach(self, step: int) -> None:
        """Writes the history up to a step, and the beginning of a line."""
        lines = [
            json.dumps({"kind": kind, **entry}) + "\n"
            for kind, entries in self.history.items()
            for entry in entries
            if entry["step"] <= step
        ]
        (self.folder / HISTORY_LINES).write_text("".join(lines) + '{"kind": "tr')

    def finish(self) -> None:
        folder = self.layout.variant(MODEL, "trained")
        write_json(self.history, folder / HISTORY_FILE)
        write_json(train_result(MODEL), folder / RESULT_FILE)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reported project of one model, and beside it a store with tables."""
    root: Path = tmp_path_factory.mktemp("reported")
    write_project(root, (MODEL,), ("float32",), params={"report": {"num_pictures": 0}})
    report(["--root", str(root)])
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{root}/mlflow.db").search_experiments()
    return root


@pytest.fixture
def layout(reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(reported, tmp_path / "project")
    return Layout(tmp_path / "project")


@pytest.fixture
def training(layout: Layout) -> Training:
    return Training(layout, os.getpid())


def uri_of(layout: Layout) -> str:
    return f"sqlite:///{layout.root}/mlflow.db"


def only_run(uri: str) -> Any:
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiments = [entry.experiment_id for entry in client.search_experiments()]
    (run,) = client.search_runs(experiments, "tags.role = 'training'")
    return run


def points(uri: str, name: str) -> list[tuple[int, float]]:
    client = mlflow.MlflowClient(tracking_uri=uri)
    return sorted((point.step, point.value) for point in client.get_metric_history(only_run(uri).info.run_id, name))


def publish(layout: Layout, uri: str) -> Outcome:
    state = read_state(layout.root, dvc_lock=layout.dvc_lock, metrics=layout.metrics)
    outcome: Outcome = store.publish_runs(plan_publication(layout, state, load_params(layout.root), uri), uri)
    return outcome


def test_curves_arrive_while_training_runs_and_publish_goes_on_with_the_run(
    layout: Layout, training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = uri_of(layout)
    follower = Follower(layout, PublishParams(), uri, "sparsity-0.5")
    follower.look()
    training.reach(0)
    follower.look()
    assert not mlflow.MlflowClient(tracking_uri=uri).get_experiment_by_name("detectors"), "nothing to show yet"

    training.reach(500)
    follower.look()
    run = only_run(uri)
    assert (run.info.run_name, run.info.status) == (f"{MODEL}/trained (sparsity-0.5)", "RUNNING")
    assert len(points(uri, "train/total_loss")) == 10
    assert set(run.data.metrics) == {
        "train/total_loss", "train/learning_rate", "train/images_per_second", "train/seconds", "validation/box_ap",
    }  # fmt: skip
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["synthetic/train", "synthetic/val"]
    began = run.info.start_time

    training.reach(1000)
    follower.look()
    training.finish()
    follower.look()
    run = only_run(uri)
    assert run.info.status == "FINISHED"
    assert len(points(uri, "train/total_loss")) == 30

    assert capsys.readouterr().err == ""

    assert publish(layout, uri) == Outcome(created=2, completed=1)
    run, client = only_run(uri), mlflow.MlflowClient(tracking_uri=uri)
    assert points(uri, "train/total_loss") == [(e["step"], e["total_loss"]) for e in training.history["train"]]
    evaluations = [(entry["step"], round(entry["box_ap"], 4)) for entry in training.history["validation"]]
    assert points(uri, "validation/box_ap") == evaluations
    first = min(client.get_metric_history(run.info.run_id, "train/total_loss"), key=lambda point: point.step)
    assert (run.info.start_time, first.timestamp) == (began, began + 18_000), "at the time of the training"
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["role"] == "parent"
    assert run.data.metrics["best_step"] == 1500
    assert publish(layout, uri) == Outcome(unchanged=3)


def test_without_a_stream_publish_makes_the_same_run(layout: Layout, training: Training) -> None:
    other = f"sqlite:///{shutil.copy(layout.root / 'mlflow.db', layout.root / 'other.db')}"
    training.reach(1500)
    Follower(layout, PublishParams(), uri_of(layout), "").look()
    streamed = only_run(uri_of(layout))
    training.finish()

    publish(layout, other)

    published = only_run(other)
    for name in ("run_key", "role", "model", "variant"):
        assert published.data.tags[name] == streamed.data.tags[name]
    assert published.info.run_name == streamed.info.run_name
    assert published.data.params == streamed.data.params
    assert set(published.data.metrics) == {*streamed.data.metrics, "best_step"}
    assert published.info.end_time - published.info.start_time == 540_000


def test_a_stopped_training_is_shown_as_such_and_goes_on_in_its_run(
    layout: Layout, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = uri_of(layout)
    training.reach(500)
    Follower(layout, PublishParams(), uri, "").look()

    follower = Follower(layout, PublishParams(), uri, "")
    follower.look()
    with monkeypatch.context() as dead:
        dead.setattr(follow, "is_alive", lambda pid: False)
        assert find_running(layout.work) == {}
        follower.look()
    assert only_run(uri).info.status == "KILLED"

    training.history["train"][9]["total_loss"] = 0.5
    training.reach(800)
    Follower(layout, PublishParams(), uri, "").look()
    assert only_run(uri).info.status == "RUNNING"
    assert len({step for step, _ in points(uri, "train/total_loss")}) == 16
    assert (500, 0.5) in points(uri, "train/total_loss")


def test_the_work_of_a_process_that_is_gone_is_no_training(layout: Layout) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    Training(layout, gone.pid)
    assert find_running(layout.work) == {}


def test_system_metrics_are_sent_where_they_are_asked_for(
    layout: Layout, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    uri = uri_of(layout)
    training.reach(50)
    follower = Follower(layout, PublishParams(system_metrics=True), uri, "")
    follower.look()
    until = time.monotonic() + 30
    while time.monotonic() < until and "system/cpu_utilization_percentage" not in only_run(uri).data.metrics:
        time.sleep(0.1)
    training.finish()
    follower.look()
    run = only_run(uri)
    assert "system/cpu_utilization_percentage" in run.data.metrics
    assert run.info.status == "FINISHED"


class Answering(BaseHTTPRequestHandler):
    """Answers every request with an error of a kind, or after so many seconds."""

    status, delay_s, asked = 500, 0.0, 0

    def do_GET(self) -> None:
        type(self).asked += 1
        time.sleep(self.delay_s)
        self.send_error(self.status)

    do_POST = do_GET  # noqa: N815 (the base class's)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts a server with these attributes of `Answering`; gives its address."""
    servers = []

    def start(**attributes: Any) -> str:
        handler = type("Handler", (Answering,), attributes)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def dead() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        (None, "refused"),
        ({"delay_s": 60.0}, "timed out"),
        ({"status": 500}, "answers 500"),
        ({"status": 403}, "403"),
        ({"status": 400}, "400"),
    ],
    ids=["dead", "slow", "broken", "forbidden", "proxy"],
)
def test_a_store_that_takes_nothing_is_one_warning_and_is_left_alone(
    attributes: dict[str, Any] | None,
    says: str,
    layout: Layout,
    training: Training,
    serve: Callable[..., str],
    dead: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = dead if attributes is None else serve(**attributes)
    training.reach(500)
    follower = Follower(layout, PublishParams(timeout_s=4), uri, "")
    begin = time.monotonic()
    for _ in range(50):
        follower.look()
    assert time.monotonic() - begin < 10, "asked once, not fifty times"
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: training curves do not reach {uri}: ")
    assert says in warning

    # Later the store is there: everything arrives, and nothing more is said.
    follower._uri, follower._asleep_until = uri_of(layout), 0.0
    follower.look()
    assert len(points(uri_of(layout), "train/total_loss")) == 10
    assert capsys.readouterr().err == ""


def test_what_follows_ends_with_the_block_and_holds_nobody_up(
    layout: Layout, training: Training, serve: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    training.reach(500)
    uri = serve(delay_s=60.0)
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT)}
    begin = time.monotonic()
    with followed(layout.root, environment):
        assert time.monotonic() - begin < 1, "nothing waits for it"
        time.sleep(0.5)
    assert time.monotonic() - begin < 8


def test_a_followed_block_leaves_its_curves_in_the_store(layout: Layout, training: Training) -> None:
    training.reach(500)
    with followed(layout.root, {**os.environ, "MLFLOW_TRACKING_URI": uri_of(layout), "PYTHONPATH": str(ROOT)}):
        pass
    assert len(points(uri_of(layout), "train/total_loss")) == 10


def test_nothing_is_started_where_nobody_asks_for_it(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.params.write_text(layout.params.read_text() + "publish: {stream: false}\n")
    monkeypatch.setattr("subprocess.Popen", None)
    with followed(layout.root, {}):
        pass


@pytest.mark.slow
def test_a_server_gets_curves_and_then_the_rest_of_the_same_runs(
    layout: Layout, training: Training, tmp_path: Path
) -> None:
    with running_server(tmp_path) as uri:
        training.reach(500)
        with followed(layout.root, {**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT)}):
            until = time.monotonic() + 60
            while time.monotonic() < until and not streamed(uri):
                time.sleep(0.5)
        assert len(points(uri, "train/total_loss")) == 10
        training.finish()
        assert publish(layout, uri) == Outcome(created=2, completed=1)
        assert len(points(uri, "train/total_loss")) == 30
        assert publish(layout, uri) == Outcome(unchanged=3)


def streamed(uri: str) -> bool:
    """Whether any run has a curve."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiments = [entry.experiment_id for entry in client.search_experiments()]
    return any(run.data.metrics for run in client.search_runs(experiments))
