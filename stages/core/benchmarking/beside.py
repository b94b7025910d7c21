"""A file's latency beside a reference file's: both timed in turns, in one process started for nothing else."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np

from stages.core.base.hashing import hash_file
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import RESULT_FILE, TFLITE_FILES
from stages.core.datasets.prepared import load_image
from stages.core.processing.preprocess import preprocess_batches
from stages.core.results.benchmark import Beside
from stages.core.results.conversion import Conversion
from stages.core.results.interface import read_interface
from stages.core.results.kinds import Backend, Form
from stages.core.running.artifact import Artifact, read_artifact
from stages.core.running.open import RUNNERS

MIN_PAIRS = 5
RESAMPLES, SEED = 2000, 0
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class PairRequest:
    """What to time: a converted folder, and the exported folder with the reference file; both on the same images."""

    folder: Path
    exported: Path
    images: tuple[Path, ...]
    pairs: int
    warmup: int
    max_seconds: float
    num_threads: int


def reference_file(exported: Path) -> Path:
    """The float32 TFLite file that `export` made of the model as first trained."""
    return exported / TFLITE_FILES[Form.BUILTIN]


def measure_beside(request: PairRequest) -> Beside:
    """Times both files in turns on the images.

    Raises:
      ArtifactError: if a file is not what its record and interface say.
      InferenceError: if a runtime refuses one.
    """
    path = reference_file(request.exported)
    reference = Artifact((path,), hash_file(path), Backend.TFLITE, read_interface(request.exported))
    own = read_artifact(request.folder, read_json(Conversion, request.folder / RESULT_FILE))
    # As many images on both sides: the reference file takes one.
    calls = [_open(own, request, times=1), _open(reference, request, times=own.interface.input.shape[0])]
    for _ in range(request.warmup):
        for call in calls:
            call()
    pairs = time_in_turns(calls[0], calls[1], pairs=request.pairs, max_seconds=request.max_seconds)
    ratio, low, high = summarize_ratio(pairs)
    return Beside(reference_sha256=reference.sha256, ratio=ratio, low=low, high=high, pairs=len(pairs))


def _open(artifact: Artifact, request: PairRequest, *, times: int) -> Callable[[], object]:
    runner = RUNNERS[artifact.backend]()(artifact, request.num_threads, False)
    images = [load_image(image) for image in request.images]
    tensors = cycle(preprocess_batches(images, artifact.interface.input))

    def call() -> None:
        for _ in range(times):
            runner.infer(next(tensors))

    return call


def time_in_turns(
    first: Callable[[], object], second: Callable[[], object], *, pairs: int, max_seconds: float
) -> list[tuple[float, float]]:
    """Seconds of both, pair by pair; who goes first alternates. Stops early, though not before the fifth pair, once
    `max_seconds` are spent."""
    found: list[tuple[float, float]] = []
    spent = 0.0
    for index in range(pairs):
        order = (0, 1) if index % 2 == 0 else (1, 0)
        times = [0.0, 0.0]
        for which in order:
            start = time.perf_counter()
            (first, second)[which]()
            times[which] = time.perf_counter() - start
        found.append((times[0], times[1]))
        spent += sum(times)
        if len(found) >= MIN_PAIRS and spent >= max_seconds:
            break
    return found


def summarize_ratio(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Median of first over second, and its 95 % bootstrap interval over the pairs."""
    ratios = np.asarray([first / second for first, second in pairs])
    drawn = np.random.default_rng(SEED).choice(ratios, (RESAMPLES, len(ratios)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.median(drawn, axis=1), [tail, 1 - tail])
    return float(np.median(ratios)), float(low), float(high)
