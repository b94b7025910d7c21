"""However a child process ends, its parent learns why in one line."""

import os
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from stages.core.base.errors import ArtifactError
from stages.core.base.processes import (
    ChildProcess,
    ProcessFailedError,
    ProcessTimeoutError,
    describe_crash,
    run_in_child,
)
from tests.crashing_child import end_as_told

ENDINGS = [
    ("segfault", ProcessFailedError, "the runtime crashed (SIGSEGV) while trying"),
    ("abort", ProcessFailedError, "the runtime crashed (SIGABRT) while trying: Check failed: x < y"),
    ("hang", ProcessTimeoutError, "no answer within 3 s while trying"),
    ("refuse", ArtifactError, "boxes: not finite"),
    ("bug", ZeroDivisionError, "division by zero"),
    ("silent", ProcessFailedError, "the process ended with status 7 while trying"),
]


@pytest.mark.parametrize(("ending", "kind", "reason"), ENDINGS, ids=[row[0] for row in ENDINGS])
def test_the_reason_is_one_line(ending: str, kind: type[Exception], reason: str, tmp_path: Path) -> None:
    (tmp_path / "ending").write_text(ending)
    with pytest.raises(kind) as caught:
        run_in_child(end_as_told, tmp_path / "ending", timeout_s=3, doing="trying")
    assert str(caught.value) == reason


def test_a_result_comes_back() -> None:
    assert run_in_child(sum, [1, 2, 3], timeout_s=30, doing="adding") == 6


def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "ending").write_text("bug")
    with pytest.raises(ZeroDivisionError) as caught:
        run_in_child(end_as_told, tmp_path / "ending", timeout_s=30, doing="trying")
    assert "crashing_child.py" in caught.value.__notes__[0]


class UnpicklableError(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def raise_unpicklable() -> None:
    raise UnpicklableError("two", "arguments")


def test_an_exception_that_cannot_travel_is_told_as_text() -> None:
    with pytest.raises(RuntimeError, match="UnpicklableError: two arguments"):
        run_in_child(raise_unpicklable, timeout_s=30, doing="trying")


def echo(connection: Connection) -> None:
    while True:
        connection.send((os.getpid(), connection.recv()))


def test_values_go_back_and_forth_until_the_parent_leaves() -> None:
    with ChildProcess(echo) as process:
        pids = set()
        for value in ("a", "b"):
            process.send(value)
            pid, answer = process.receive(timeout_s=30, doing="echoing")
            pids.add(pid)
            assert answer == value
    (pid,) = pids
    assert pid != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_a_crash_said_last_is_told() -> None:
    log = "INFO: hello\nloading\nCheck failed: a == b\nINFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
    assert describe_crash(-6, log, "measuring") == (
        "the runtime crashed (SIGABRT) while measuring: Check failed: a == b"
    )
    assert describe_crash(-11, "INFO: only this", "measuring") == "the runtime crashed (SIGSEGV) while measuring"
