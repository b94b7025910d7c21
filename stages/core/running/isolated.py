"""A runner in a process of its own: when a runtime takes its process down, the row is lost, not the run."""

import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from stages.core.detections import Detections
from stages.core.errors import UserError
from stages.core.interface import Interface
from stages.core.running.artifact import Artifact
from stages.core.running.runner import InferenceError, open_runner

ANSWER_TIMEOUT_S = 300.0


def describe_crash(exit_code: int, log: str, doing: str) -> str:
    """One line on a process that a signal ended: which signal, when, and the last thing it said.

    Args:
      exit_code: Minus the signal's number.
      log: What the process wrote to stderr.
      doing: What it was doing, e.g. `opening the file`.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith("INFO:")]
    reason = f"the runtime crashed ({signal.Signals(-exit_code).name}) while {doing}"
    return f"{reason}: {lines[-1]}" if lines else reason


@dataclass(frozen=True)
class _Ready:
    runtime: str
    delegate: str


@dataclass(frozen=True, eq=False)
class _Answer:
    detections: Detections
    outputs: Mapping[str, np.ndarray]
    raw_outputs: Mapping[str, np.ndarray]


class IsolatedRunner:
    """Opens a file in a fresh process and runs it there. A context manager; a `Runner` but for `infer`.

    Raises:
      ArtifactError: on entering, if the file's tensors are not those of its interface.
      InferenceError: on entering or running, if the runtime refuses the file, crashes on it or does not answer in time.
    """

    def __init__(
        self, artifact: Artifact, *, num_threads: int, keep_raw: bool = False, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> None:
        self.interface: Interface = artifact.interface
        self.runtime = self.delegate = ""
        self.outputs: Mapping[str, np.ndarray] = {}
        self.raw_outputs: Mapping[str, np.ndarray] = {}
        self._timeout_s = timeout_s
        descriptor, log = tempfile.mkstemp(prefix="runner-", suffix=".log")
        os.close(descriptor)
        self._log = Path(log)
        # `spawn`: a forked runtime would inherit locked mutexes of this process's threads.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, str(self._log), artifact, num_threads, keep_raw), daemon=True
        )
        self._theirs = theirs

    def __enter__(self) -> Self:
        self._process.start()
        # Only the child may hold its end, else its death would not be seen here.
        self._theirs.close()
        try:
            ready = self._receive("opening the file")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.runtime, self.delegate = ready.runtime, ready.delegate
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join(timeout=1)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._log.unlink(missing_ok=True)

    def run(self, image: np.ndarray) -> Detections:
        # A child that is gone is explained when its answer is awaited.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send(image)
        answer = self._receive("running an image")
        self.outputs, self.raw_outputs = answer.outputs, answer.raw_outputs
        detections: Detections = answer.detections
        return detections

    def _receive(self, doing: str) -> Any:
        try:
            if not self._connection.poll(self._timeout_s):
                raise InferenceError(f"no answer within {self._timeout_s:.0f} s while {doing}")
            answer = self._connection.recv()
        except (EOFError, ConnectionResetError):
            raise self._explain_death(doing) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _explain_death(self, doing: str) -> Exception:
        self._process.join()
        code = self._process.exitcode or 0
        said = self._log.read_text(errors="replace").strip()
        if code >= 0:
            return RuntimeError(f"the runner's process ended with status {code} while {doing}:\n{said}")
        return InferenceError(describe_crash(code, said, doing))


def _serve(connection: Connection, log: str, artifact: Artifact, num_threads: int, keep_raw: bool) -> None:
    """The child: opens the file, then answers one image at a time until the parent hangs up or dies."""
    # What native code says before it dies goes to file descriptor 2, not to sys.stderr.
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 2)
    try:
        runner = open_runner(artifact, num_threads=num_threads, keep_raw=keep_raw)
        connection.send(_Ready(runner.runtime, runner.delegate))
        while True:
            detections = runner.run(connection.recv())
            connection.send(_Answer(detections, runner.outputs, runner.raw_outputs))
    except (UserError, InferenceError) as error:
        connection.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
