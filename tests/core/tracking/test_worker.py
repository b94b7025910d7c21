import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Pipe

import pytest

from stages.core.errors import UserError
from stages.core.tracking import worker
from stages.core.tracking.outcome import Outcome, TrackingUnavailableError
from stages.core.tracking.plan import Publication, RunPlan

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

    class Broken(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def dying_port() -> Iterator[int]:
    """A server that answers the first question and then falls silent."""
    asked, over = threading.Event(), threading.Event()

    class Dying(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked.is_set():
                over.wait(60)
            else:
                asked.set()
                self.send_error(404)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Dying) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        over.set()
        server.shutdown()


@pytest.mark.parametrize(
    ("kind", "says", "at_most_s"),
    [("closed_port", "refused", 2), ("mute_port", "timed out", 4), ("broken_port", "503", 2)],
)
def test_a_dead_server_is_found_dead_before_mlflow_is_loaded(
    kind: str, says: str, at_most_s: float, request: pytest.FixtureRequest
) -> None:
    port, start = request.getfixturevalue(kind), time.monotonic()
    with pytest.raises(TrackingUnavailableError, match=says):
        worker.publish_in_time(PUBLICATION, f"http://127.0.0.1:{port}", timeout_s=8)
    assert time.monotonic() - start < at_most_s


def test_a_server_that_dies_in_the_middle_is_given_up(dying_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    with pytest.raises(TrackingUnavailableError, match=r"timed out|no answer") as caught:
        worker.publish_in_time(PUBLICATION, f"http://me:secret@127.0.0.1:{dying_port}", timeout_s=8)
    assert "secret" not in str(caught.value)


def test_silence_is_measured_from_the_last_answer() -> None:
    ours, theirs = Pipe(duplex=False)
    theirs.send(("ready", None))
    theirs.send(("step", 0))
    start = time.monotonic()
    with pytest.raises(TrackingUnavailableError, match="no answer"):
        worker._wait(ours, 0.3)
    assert 0.25 < time.monotonic() - start < 2


def test_an_upload_may_take_its_time() -> None:
    ours, theirs = Pipe(duplex=False)
    theirs.send(("step", worker.SLOWEST_UPLOAD * 5))
    threading.Timer(0.6, lambda: theirs.send(("done", Outcome(created=1)))).start()
    assert worker._wait(ours, 0.1) == Outcome(created=1)


@pytest.mark.parametrize(
    ("kind", "error"), [("unavailable", TrackingUnavailableError), ("user", UserError), ("bug", RuntimeError)]
)
def test_what_went_wrong_in_the_process_is_raised_here(kind: str, error: type[Exception]) -> None:
    ours, theirs = Pipe(duplex=False)
    theirs.send((kind, "why"))
    with pytest.raises(error, match="why"):
        worker._wait(ours, 1)


def test_a_process_that_dies_is_a_bug_and_not_silence() -> None:
    ours, theirs = Pipe(duplex=False)
    theirs.close()
    with pytest.raises(RuntimeError, match="without a word"):
        worker._wait(ours, 1)
