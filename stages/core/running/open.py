"""THE TABLE of runtimes, and opening a model file in its own."""

from collections.abc import Callable

from stages.core.results.kinds import Backend
from stages.core.running.artifact import Artifact
from stages.core.running.runner import OpenRunner

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
