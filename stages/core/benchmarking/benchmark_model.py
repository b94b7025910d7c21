"""What LiteRT's benchmark_model prints on a phone or board, with the hash of the file that it was run on."""

import re
from pathlib import Path

from stages.core.base.errors import ArtifactError
from stages.core.results.conversion import Conversion
from stages.core.results.device import DeviceCost
from stages.core.results.status import Status

TOOL = "benchmark_model"
HINT = "docs/devices.md has the commands"
_NUMBER = r"([0-9.]+(?:e[+-]?\d+)?)"
_HASH = re.compile(r"^([0-9a-f]{64})\s+\S", re.MULTILINE)
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}, "
    rf"Warmup \(avg\): {_NUMBER}, Inference \(avg\): {_NUMBER}"
)
_COUNT = re.compile(r"count=(\d+) (.*)")
_FIELD = re.compile(rf"(\w+)={_NUMBER}")
_MEMORY = re.compile(
    rf"(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): .*overall={_NUMBER}"
)
_THREADS = re.compile(r"(?:Num threads|#threads used for CPU inference)\s*: \[(\d+)\]")
_APPLIED = re.compile(r"(?:Explicitly applied|Applied) (.+?) delegate, and the model graph will be")
_FROM_FILE = re.compile(r"Input value files\s*: \[.+\]")
_REFUSED = "will not be executed by the delegate"
_XNNPACK = "Created TensorFlow Lite XNNPACK delegate"
"""Lines as the tool prints them, whatever stands before them (`INFO: `, logcat's time and tag)."""


def read_benchmark_model(path: Path, folder: Path, conversion: Conversion) -> DeviceCost:
    """One run's output as a row of a device file.

    Args:
      path: The output of `sha256sum model.tflite; benchmark_model --graph=model.tflite --num_threads=N`.
      folder: The converted folder that the file was copied from; conversion: its result.json.

    Raises:
      ArtifactError: if the output is not one whole run, or of another file.
    """
    try:
        text = path.read_text(errors="replace").replace("\r", "")
    except OSError as error:
        raise ArtifactError(f"--read: {path}: {error.strerror}") from None
    runs = list(_TIMINGS.finditer(text))
    if len(runs) != 1:
        raise ArtifactError(f"--read: {path}: {len(runs)} whole runs of {TOOL} in it, expected one{_last_words(text)}")
    _check_hash(path, folder, conversion, text)
    init_us, _, _, mean_us = (float(number) for number in runs[0].groups())
    counts = [(int(number), dict(_FIELD.findall(rest))) for number, rest in _COUNT.findall(text[: runs[0].start()])]
    threads = _THREADS.findall(text)
    if not counts or not threads:
        missing = "line `count=...`" if not counts else "number of threads"
        raise ArtifactError(f"--read: {path}: no {missing} in it; run {TOOL} with --num_threads=N ({HINT})")
    number, timed = counts[-1]
    memory = _MEMORY.search(text)
    return DeviceCost(
        model=conversion.model,
        scheme=conversion.scheme,
        artifact_sha256=conversion.sha256 or "",
        status=Status.OK,
        latency_mean_ms=mean_us / 1000,
        latency_p50_ms=_milliseconds(timed.get("median")),
        latency_p95_ms=_milliseconds(timed.get("p95")),
        runs=number,
        warmup=counts[0][0] if len(counts) > 1 else 0,
        init_ms=init_us / 1000,
        memory_delta_bytes=round(float(memory[1]) * 1024 * 1024) if memory else None,
        num_threads=int(threads[-1]),
        timed_on="values of a file" if _FROM_FILE.search(text) else "random values",
        tool=TOOL,
        runtime="LiteRT",
        delegate=_delegate(text),
    )


def _check_hash(path: Path, folder: Path, conversion: Conversion, text: str) -> None:
    hashes = set(_HASH.findall(text))
    if not hashes:
        raise ArtifactError(
            f"--read: {path}: no sha256 of the file that was measured; run `sha256sum model.tflite` on the device "
            f"before {TOOL} and keep both outputs ({HINT})"
        )
    if hashes != {conversion.sha256}:
        raise ArtifactError(
            f"--read: {path}: measured on another file: sha256 {', '.join(sorted(hashes))}, "
            f"{folder} holds {conversion.sha256}"
        )


def _delegate(text: str) -> str:
    if _REFUSED in text:
        return "none"
    if applied := _APPLIED.findall(text):
        return str(applied[-1])
    return "XNNPACK" if _XNNPACK in text else "none"


def _milliseconds(microseconds: str | None) -> float | None:
    return None if microseconds is None else float(microseconds) / 1000


def _last_words(text: str) -> str:
    """What the tool said last, or its error, for a message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "error" in line or "failed" in line.lower()]
    return f"; it ends with: {(errors or lines)[-1][:200]}" if lines else "; it is empty"
