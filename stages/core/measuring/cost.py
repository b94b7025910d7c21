"""Latency, memory and size of one shipped file, measured in a fresh process."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import stages
from stages.core.command import EXIT_USER_ERROR
from stages.core.errors import ArtifactError
from stages.core.jsonfile import read_json, write_json
from stages.core.measuring.fresh_run import EXIT_INFERENCE_FAILED, CostRequest, CostSample
from stages.core.measuring.machine import read_machine
from stages.core.measuring.memory import measure_gzip_bytes
from stages.core.results.benchmark import Benchmark
from stages.core.results.conversion import Conversion
from stages.core.results.status import Status
from stages.core.running.artifact import DamagedFileError, read_artifact
from stages.core.running.isolated import describe_crash
from stages.core.running.runner import InferenceError

TIMEOUT_S = 1800.0


def measure_cost(
    conversion: Conversion,
    *,
    folder: Path,
    images: Sequence[Path],
    runs: int,
    warmup: int,
    max_seconds: float,
    num_threads: int,
) -> Benchmark:
    """Benchmarks the file of one cell; one without a file, or with one that is damaged or does not run, keeps its row.

    Args:
      conversion: result.json of the cell; folder: where it lies.
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
        sample = run_fresh(request, timeout_s=TIMEOUT_S)
    except (ArtifactError, InferenceError) as error:
        return _unmeasured(conversion, Status.FAILED, str(error), num_threads)
    return Benchmark(
        model=conversion.model,
        scheme=conversion.scheme,
        status=Status.OK,
        artifact_sha256=artifact.sha256,
        latency=sample.latency,
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


def run_fresh(request: CostRequest, *, timeout_s: float) -> CostSample:
    """Measures in a process of its own, so that peak memory is the file's and a crash takes nothing else down.

    Raises:
      ArtifactError: if the process reports one.
      InferenceError: if the runtime refuses the file, crashes on it or takes too long.
      RuntimeError: if the process ends otherwise: a bug.
    """
    with tempfile.TemporaryDirectory(prefix="cost-") as scratch:
        asked, answer = Path(scratch, "request.json"), Path(scratch, "result.json")
        write_json(request, asked)
        package_root = str(Path(stages.__file__).parents[1])
        paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "stages.core.measuring.fresh_run", str(asked), str(answer)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InferenceError(f"no result within {timeout_s:.0f} s") from None
        check_ending(done.returncode, done.stderr)
        return read_json(CostSample, answer)


def check_ending(status: int, log: str) -> None:
    """Turns the exit status of a measuring process into the error that it stands for; 0 into none."""
    last_line = (log.strip().splitlines() or ["no message"])[-1]
    if status == EXIT_USER_ERROR:
        raise ArtifactError(last_line.removeprefix("error: "))
    if status == EXIT_INFERENCE_FAILED:
        raise InferenceError(last_line)
    if status < 0:
        raise InferenceError(describe_crash(status, log, "measuring"))
    if status:
        raise RuntimeError(f"the measuring process ended with status {status}:\n{log}")


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
