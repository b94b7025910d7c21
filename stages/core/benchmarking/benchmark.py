"""Latency, memory and size of one converted file, measured in a fresh process."""

from collections.abc import Sequence
from pathlib import Path

from stages.core.base.errors import ArtifactError, InferenceError
from stages.core.base.processes import ProcessFailedError, run_in_child
from stages.core.benchmarking.beside import PairRequest, measure_beside, reference_file
from stages.core.benchmarking.machine import read_machine
from stages.core.benchmarking.measure import CostRequest, measure_file
from stages.core.benchmarking.memory import measure_gzip_bytes
from stages.core.results.benchmark import Benchmark, Beside
from stages.core.results.conversion import Conversion
from stages.core.results.status import Status
from stages.core.running.artifact import DamagedFileError, read_artifact

TIMEOUT_S = 1800.0


def measure_cost(
    conversion: Conversion,
    *,
    folder: Path,
    exported: Path | None,
    images: Sequence[Path],
    runs: int,
    warmup: int,
    max_seconds: float,
    num_threads: int,
) -> Benchmark:
    """Benchmarks the file of one cell; one without a file, or with one that is damaged or does not run, keeps its row.

    Args:
      conversion: result.json of the cell; folder: where it is.
      exported: Folder of the float model, whose file the latency is also compared with, in turns; None: with none.
      images: Real images, timed in turn.
      runs, warmup: Timed and untimed inferences.
      max_seconds: A slow file is timed for so long, and fewer times.
      num_threads: Threads of one inference.

    Raises:
      ArtifactError: if the file is another than the converted one.
    """
    if conversion.status is not Status.OK:
        return _unmeasured(conversion, conversion.status, conversion.reason, num_threads)
    try:
        artifact = read_artifact(folder, conversion)
    except DamagedFileError as error:
        return _unmeasured(conversion, Status.FAILED, str(error), num_threads)
    request = CostRequest(
        folder=folder, images=tuple(images), runs=runs, warmup=warmup, max_seconds=max_seconds, num_threads=num_threads
    )
    try:
        # In a process of its own: peak memory is then the file's, and a crash takes nothing else down.
        sample = run_in_child(measure_file, request, timeout_s=TIMEOUT_S, doing="measuring")
        beside = _measure_beside(request, exported)
    except (ArtifactError, InferenceError, ProcessFailedError) as error:
        return _unmeasured(conversion, Status.FAILED, str(error), num_threads)
    return Benchmark(
        model=conversion.model,
        scheme=conversion.scheme,
        status=Status.OK,
        artifact_sha256=artifact.sha256,
        latency=sample.latency,
        beside=beside,
        num_images=len(images),
        mean_detections=sample.mean_detections,
        init_ms=sample.init_ms,
        peak_rss_bytes=sample.peak_rss_bytes,
        baseline_rss_bytes=sample.baseline_rss_bytes,
        size_bytes=artifact.size_bytes,
        gzip_bytes=measure_gzip_bytes(artifact.files),
        num_threads=num_threads,
        runtime=sample.runtime,
        delegate=sample.delegate,
        slow_ops=sample.slow_ops,
        machine=read_machine(),
    )


def _measure_beside(request: CostRequest, exported: Path | None) -> Beside | None:
    """In another process than the cost: the memory of two files would be in its peak. None without a reference file."""
    if exported is None or not reference_file(exported).is_file():
        return None
    pairs = PairRequest(
        folder=request.folder,
        exported=exported,
        images=request.images,
        pairs=request.runs,
        warmup=request.warmup,
        max_seconds=request.max_seconds,
        num_threads=request.num_threads,
    )
    return run_in_child(measure_beside, pairs, timeout_s=TIMEOUT_S, doing="measuring beside the float model")


def _unmeasured(conversion: Conversion, status: Status, reason: str, num_threads: int) -> Benchmark:
    return Benchmark(
        model=conversion.model,
        scheme=conversion.scheme,
        status=status,
        reason=reason,
        artifact_sha256=conversion.sha256,
        num_threads=num_threads,
        machine=read_machine(),
    )
