"""A runner in a process of its own: when a runtime takes its process down, the row is lost, not the run."""

from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import numpy as np

from stages.core.base.errors import InferenceError
from stages.core.base.processes import ChildProcess, ProcessFailedError
from stages.core.processing.detections import Detections
from stages.core.results.interface import Interface
from stages.core.running.artifact import Artifact
from stages.core.running.open import open_runner

ANSWER_TIMEOUT_S = 300.0


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
        self._process = ChildProcess(_serve, artifact, num_threads, keep_raw)

    def __enter__(self) -> Self:
        self._process.__enter__()
        try:
            ready = self._receive("opening the file")
        except BaseException as error:
            self._process.__exit__(type(error), error, error.__traceback__)
            raise
        self.runtime, self.delegate = ready.runtime, ready.delegate
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, trace)

    def run(self, image: np.ndarray) -> Detections:
        self._process.send(image)
        answer = self._receive("running an image")
        self.outputs, self.raw_outputs = answer.outputs, answer.raw_outputs
        detections: Detections = answer.detections
        return detections

    def _receive(self, doing: str) -> Any:
        try:
            return self._process.receive(timeout_s=self._timeout_s, doing=doing)
        except ProcessFailedError as error:
            raise InferenceError(str(error)) from None


def _serve(connection: Connection, artifact: Artifact, num_threads: int, keep_raw: bool) -> None:
    """The child: opens the file, then answers one image at a time until the parent hangs up or dies."""
    runner = open_runner(artifact, num_threads=num_threads, keep_raw=keep_raw)
    connection.send(_Ready(runner.runtime, runner.delegate))
    while True:
        detections = runner.run(connection.recv())
        connection.send(_Answer(detections, runner.outputs, runner.raw_outputs))
