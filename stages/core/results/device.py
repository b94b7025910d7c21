"""What files cost on another machine than the pipeline's (`models/devices/*.json`)."""

from dataclasses import dataclass

from stages.core.results.status import Status


@dataclass(frozen=True, kw_only=True)
class DeviceCost:
    """One file on one device.

    Attributes:
      model, scheme, artifact_sha256: As result.json names the file that was measured; its bytes were compared.
      latency_*: Of single inferences in milliseconds, over `runs` after `warmup`; None where the tool does not say.
      init_ms: From opening the file to ready for the first inference.
      peak_rss_bytes: Peak resident set of a process for this file alone.
      memory_delta_bytes: What memory grew by, as benchmark_model says it; not comparable with the peak.
      timed_on: What was timed: `10 images`, `noise`, `random values`.
      tool: What measured it; runtime, delegate: what computed.
    """

    model: str
    scheme: str
    artifact_sha256: str
    status: Status
    reason: str = ""
    latency_mean_ms: float | None = None
    latency_p50_ms: float | None = None
    latency_p90_ms: float | None = None
    latency_p95_ms: float | None = None
    runs: int = 0
    warmup: int = 0
    init_ms: float | None = None
    peak_rss_bytes: int | None = None
    memory_delta_bytes: int | None = None
    num_threads: int
    timed_on: str
    tool: str
    runtime: str = ""
    delegate: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What a device has one measurement of."""
        return (self.model, self.scheme, self.num_threads)


@dataclass(frozen=True, kw_only=True)
class DeviceFile:
    """One device and what it measured.

    Attributes:
      device: What the report calls it.
      cpu, isa_flags, num_cpus, system: As in `Machine`; empty and 0 where a foreign tool does not say.
    """

    device: str
    cpu: str
    isa_flags: tuple[str, ...] = ()
    num_cpus: int = 0
    system: str = ""
    costs: tuple[DeviceCost, ...]
