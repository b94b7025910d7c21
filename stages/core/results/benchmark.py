"""What a converted file costs."""

from dataclasses import dataclass, field

from stages.core.results.status import Status


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Latency of single inferences in milliseconds, over `runs` runs after `warmup`."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    runs: int
    warmup: int


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Latency against a reference file that was timed in turns with this one, inference by inference.

    Latencies taken minutes apart differ by what else the machine does; these do not, so that two files with the same
    reference compare.

    Attributes:
      reference_sha256: Of the reference file, the float model's own TFLite file.
      ratio: Median over the pairs of this file's latency divided by the reference's; low, high: its 95 % bootstrap
        interval over the pairs.
      pairs: How often both were timed.
    """

    reference_sha256: str
    ratio: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where a number was measured."""

    cpu: str
    isa_flags: tuple[str, ...]
    num_cpus: int
    system: str
    python: str


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Cost of one converted file (`models/benchmarked/<model>/<scheme>.json`), measured in a fresh process.

    Attributes:
      num_images: How many images were timed in turn. mean_detections: What the file found on one of them, on average;
        a mask head that skips rows without detections takes as long as that asks for.
      init_ms: From opening the file to ready for the first inference.
      peak_rss_bytes: Peak resident set of that process; baseline_rss_bytes: before the model was opened.
      size_bytes, gzip_bytes: Of the model file(s).
      runtime, delegate: e.g. `ai-edge-litert 2.3.0`, `XNNPACK`.
      slow_ops: Kind to number of the ops that ran outside the delegate, on the runtime's plain kernels.
    """

    model: str
    scheme: str
    status: Status
    reason: str = ""
    artifact_sha256: str | None = None
    latency: Latency | None = None
    beside: Beside | None = None
    num_images: int = 0
    mean_detections: float | None = None
    init_ms: float | None = None
    peak_rss_bytes: int | None = None
    baseline_rss_bytes: int | None = None
    size_bytes: int | None = None
    gzip_bytes: int | None = None
    num_threads: int
    runtime: str = ""
    delegate: str = ""
    slow_ops: dict[str, int] = field(default_factory=dict)
    machine: Machine
