"""What one file costs, measured in this process, which `benchmark` starts for nothing else."""

import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import fmean

from stages.core.base.jsonfile import read_json
from stages.core.base.layout import RESULT_FILE
from stages.core.benchmarking.latency import measure_latency
from stages.core.benchmarking.memory import read_peak_rss_bytes, read_rss_bytes
from stages.core.datasets.prepared import load_image
from stages.core.processing.preprocess import preprocess_batches
from stages.core.results.benchmark import Latency
from stages.core.results.conversion import Conversion
from stages.core.running.artifact import read_artifact
from stages.core.running.open import RUNNERS


@dataclass(frozen=True, kw_only=True)
class CostRequest:
    """What to measure: a converted folder with its result.json, on which images, how often and for how long at most."""

    folder: Path
    images: tuple[Path, ...]
    runs: int
    warmup: int
    max_seconds: float
    num_threads: int


@dataclass(frozen=True, kw_only=True)
class CostSample:
    """What was measured; fields as in `Benchmark`."""

    latency: Latency
    mean_detections: float
    init_ms: float
    peak_rss_bytes: int
    baseline_rss_bytes: int
    runtime: str
    delegate: str
    slow_ops: dict[str, int]


def measure_file(request: CostRequest) -> CostSample:
    """Opens the file and times bare inferences on the images in turn; pre- and post-processing are not in the latency.

    Raises:
      ArtifactError: if the file is not what its record and interface say.
      InferenceError: if the runtime refuses it.
    """
    artifact = read_artifact(request.folder, read_json(Conversion, request.folder / RESULT_FILE))
    spec = artifact.interface.input
    tensors = cycle(preprocess_batches([load_image(image) for image in request.images], spec))
    open_file = RUNNERS[artifact.backend]()
    baseline_rss_bytes = read_rss_bytes()
    start = time.perf_counter()
    runner = open_file(artifact, request.num_threads, False)
    init_ms = (time.perf_counter() - start) * 1000
    detections: list[float] = []

    def run() -> None:
        detections.append(runner.infer(next(tensors))["num_detections"].mean().item())

    latency = measure_latency(run, runs=request.runs, warmup=request.warmup, max_seconds=request.max_seconds)
    return CostSample(
        latency=latency,
        mean_detections=fmean(detections[request.warmup :]),
        init_ms=init_ms,
        peak_rss_bytes=read_peak_rss_bytes(),
        baseline_rss_bytes=baseline_rss_bytes,
        runtime=runner.runtime,
        delegate=runner.delegate,
        slow_ops=dict(runner.slow_ops),
    )
