"""`Runner`: what every runtime looks like from outside, and THE TABLE of runtimes."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from stages.core.detections import Detections
from stages.core.interface import Interface
from stages.core.running.artifact import Artifact
from stages.core.schemes import Backend


class InferenceError(Exception):
    """A runtime refuses a model file, or crashes on it.

    Neither a mistake of the user nor a bug of the project: the cell's status becomes `failed`, with this as the reason.
    """


class Runner(Protocol):
    """One model file, opened in its runtime, here or in another process."""

    @property
    def interface(self) -> Interface: ...

    @property
    def runtime(self) -> str:
        """Name and version, e.g. `ai-edge-litert 2.3.0`."""
        ...

    @property
    def delegate(self) -> str:
        """What computes inside the runtime, e.g. `XNNPACK`; `none` for the runtime's own kernels."""
        ...

    @property
    def outputs(self) -> Mapping[str, np.ndarray]:
        """The graph's outputs of the last run, by signature name, batch dimension kept."""
        ...

    @property
    def raw_outputs(self) -> Mapping[str, np.ndarray]:
        """Head outputs of the last run as float32, by name in `Interface.raw_outputs`; empty unless opened for it."""
        ...

    def run(self, image: np.ndarray) -> Detections:
        """Pre-processing, inference and decoding of one image: uint8 [height, width, 3], RGB.

        Raises:
          InferenceError: if the runtime fails on it.
        """
        ...


class OpenRunner(Runner, Protocol):
    """A runner in this process, whose bare inference can be timed."""

    @property
    def slow_ops(self) -> Mapping[str, int]:
        """Kind to number of the ops that run outside the fast path (`delegate`)."""
        ...

    def infer(self, tensor: np.ndarray) -> Mapping[str, np.ndarray]:
        """One inference on an input tensor that follows the interface: nothing but the runtime is timed here."""
        ...


Opener = Callable[[Artifact, int, bool], OpenRunner]
"""(artifact, num_threads, keep_raw) to a runner."""


def _load_tflite() -> Opener:
    from stages.core.running.tflite import TfliteRunner

    return lambda artifact, num_threads, keep_raw: TfliteRunner(artifact, num_threads=num_threads, keep_raw=keep_raw)


def _load_openvino() -> Opener:
    from stages.core.running.openvino import OpenvinoRunner

    return lambda artifact, num_threads, keep_raw: OpenvinoRunner(artifact, num_threads=num_threads)


RUNNERS: dict[Backend, Callable[[], Opener]] = {Backend.TFLITE: _load_tflite, Backend.OPENVINO: _load_openvino}
"""Backend to a function that imports its runtime and returns what opens its files."""

RUNTIME_PACKAGES: dict[Backend, tuple[str, ...]] = {
    Backend.TFLITE: ("ai-edge-litert",),
    Backend.OPENVINO: ("openvino",),
}


def open_runner(artifact: Artifact, *, num_threads: int, keep_raw: bool = False) -> OpenRunner:
    """Opens a model file in its own runtime.

    Args:
      artifact: The checked file.
      num_threads: Threads of one inference.
      keep_raw: Whether `raw_outputs` will be asked for.

    Raises:
      ArtifactError: if the file's tensors are not those of its interface.
      InferenceError: if the runtime refuses it.
    """
    return RUNNERS[artifact.backend]()(artifact, num_threads, keep_raw)


def first_line(error: Exception) -> str:
    """The part of a runtime's message that fits into one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
