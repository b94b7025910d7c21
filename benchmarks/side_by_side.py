"""Times of several functions taken in turn, so that whatever else the machine does falls on all of them alike."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from stages.core.base.native_output import silence_native

NUM_THREADS = 2
WARMUP = 3


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Latencies of one function in milliseconds: the best, which other load hardly touches, and the median."""

    best_ms: float
    median_ms: float


def time_in_turn(runs: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, Timing]:
    """Calls each function once a round (A B C A B C ...), after a few calls that do not count.

    Returns:
      Name to timing, in the order of `runs`.
    """
    values: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        for _ in range(WARMUP):
            run()
    gc.collect()
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            values[name].append((time.perf_counter() - start) * 1000)
    return {name: Timing(best_ms=min(found), median_ms=float(np.median(found))) for name, found in values.items()}


def open_tflite(content: bytes, image: np.ndarray) -> Callable[[], None]:
    """One inference of a .tflite file on an image [1, H, W, 3] that is already in its input tensor."""
    interpreter = _interpreter(content)
    details = interpreter.get_input_details()[0]
    interpreter.set_tensor(details["index"], image.astype(details["dtype"]))

    def run() -> None:
        interpreter.invoke()

    return run


def run_once(content: bytes, image: np.ndarray) -> dict[str, np.ndarray]:
    """A .tflite file's outputs by name for an image [1, H, W, 3]."""
    interpreter = _interpreter(content)
    runner = interpreter.get_signature_runner()
    name, details = next(iter(runner.get_input_details().items()))
    return {key: np.array(value) for key, value in runner(**{name: image.astype(details["dtype"])}).items()}


def _interpreter(content: bytes) -> Interpreter:
    with silence_native():
        interpreter = Interpreter(model_content=content, num_threads=NUM_THREADS)
        interpreter.allocate_tensors()
    return interpreter
