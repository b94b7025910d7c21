import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from multiprocessing.connection import Connection

import pytest

from stages.core.base.errors import UserError
from stages.core.base.processes import ChildProcess, ProcessFailedError
from stages.core.tracking.outcome import Outcome, TrackingUnavailableError
from stages.core.tracking.publish import SLOWEST_UPLOAD, _wait, publish_in_time
from stages.core.tracking.run_plan import Publication, RunPlan
from tests.local_server import Quiet, serving

RUN = RunPlan(name="r", key="k", content_sha256="c", params={}, metrics={}, tags={}, artifacts=(), failed=False)
PUBLICATION = Publication(experiment="detectors", artifact_root=None, parent=RUN, children=())


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A server that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def broken_port() -> Iterator[int]:
    """A server whose database is gone."""

    class Broken(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

    with serving(Broken) as port:
        yield port


@pytest.fixture
def dying_port() -> Iterator[int]:
    """A server that answers the first question and then falls silent."""
    asked, over = threading.Event(), threading.Event()

    class Dying(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked.is_set():
                over.wait(60)
            else:
                asked.set()
                self.send_error(404)

    with serving(Dying) as port:
        yield port
        over.set()


@pytest.mark.parametrize(
    ("kind", "says", "at_most_s"),
    [("closed_port", "refused", 2), ("mute_port", "timed out", 4), ("broken_port", "503", 2)],
)
def test_a_dead_server_is_found_dead_before_mlflow_is_loaded(
    kind: str, says: str, at_most_s: float, request: pytest.FixtureRequest
) -> None:
    port, start = request.getfixturevalue(kind), time.monotonic()
    with pytest.raises(TrackingUnavailableError, match=says):
        publish_in_time(PUBLICATION, f"http://127.0.0.1:{port}", timeout_s=8)
    assert time.monotonic() - start < at_most_s


def test_a_server_that_dies_in_the_middle_is_given_up(dying_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    with pytest.raises(TrackingUnavailableError, match=r"timed out|no answer") as caught:
        publish_in_time(PUBLICATION, f"http://me:secret@127.0.0.1:{dying_port}", timeout_s=8)
    assert "secret" not in str(caught.value)


def answer_twice(connection: Connection) -> None:
    connection.send(0)
    connection.send(0)
    time.sleep(60)


def test_silence_is_measured_from_the_last_answer() -> None:
    with ChildProcess(answer_twice) as process, pytest.raises(TrackingUnavailableError, match="no answer"):
        _wait(process, 0.3)


def upload_slowly(connection: Connection) -> None:
    connection.send(SLOWEST_UPLOAD * 5)
    time.sleep(0.6)
    connection.send(Outcome(created=1))


def test_an_upload_may_take_its_time() -> None:
    with ChildProcess(upload_slowly) as process:
        assert _wait(process, 0.1) == Outcome(created=1)


def fail(connection: Connection, error: Exception) -> None:
    connection.send(0)
    raise error


@pytest.mark.parametrize("error", [TrackingUnavailableError("why"), UserError("why"), RuntimeError("why")])
def test_what_went_wrong_in_the_process_is_raised_here(error: Exception) -> None:
    with ChildProcess(fail, error) as process, pytest.raises(type(error), match="why"):
        _wait(process, 30)


def die(connection: Connection) -> None:
    os._exit(3)


def test_a_process_that_dies_is_a_bug_and_not_silence() -> None:
    with ChildProcess(die) as process, pytest.raises(ProcessFailedError, match="status 3 while publishing"):
        _wait(process, 30)


PAGE = b"<html><body><h1>400 Bad Request</h1>\n<p>from a proxy</p></body></html>"
ANSWERS = {
    **{f"status {status}": (status, "text/html", PAGE) for status in (200, 302, 400, 401, 403, 404, 413, 418)},
    "JSON of another kind": (200, "application/json", b"[1, 2]"),
    "JSON without what was asked for": (200, "application/json", b"{}"),
    "an error of MLflow's": (400, "application/json", b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}'),
    "nothing": (200, "application/json", b""),
}


@pytest.fixture(scope="module")
def answering_server() -> Iterator[tuple[int, dict[str, tuple[int, str, bytes]]]]:
    """A server that answers everything alike, as `now` says."""
    answers = {"now": (200, "text/html", b"")}

    class Answering(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = answers["now"]
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

    with serving(Answering) as port:
        yield port, answers


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_whatever_a_server_answers_is_a_line(
    answer: tuple[int, str, bytes],
    answering_server: tuple[int, dict[str, tuple[int, str, bytes]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    store = pytest.importorskip("stages.core.tracking.store")
    port, answers = answering_server
    answers["now"] = answer
    with pytest.raises(TrackingUnavailableError) as caught:
        store.publish_runs(PUBLICATION, f"http://127.0.0.1:{port}")
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 500
