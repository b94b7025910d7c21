"""The results table: one row a file, judged."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from stages.core.results.status import Status
from stages.core.results.validation import Interval


class Verdict(StrEnum):
    """What the gate says of a row."""

    PASS = "pass"
    UNSURE = "unsure"
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the results table (`metrics.json`: rows). AP in points 0..100, over `num_images` of the split.

    `box_class_ap_drop` and `mask_class_ap_drop` are the drops of the class that lost most, which `*_worst_class` names.
    `*_ap_trained` is the AP of the same weights as `train` measured it at its end, with Model Garden's own
    post-processing instead of the exported one; `*_trained_drop` is what the file lost against that. None where the row
    was evaluated on other images than the whole of val, on which `train` evaluates.
    `*_interval` is the 95 % bootstrap interval of a number over the images; None where it cannot be said.
    `devices` holds what other machines measured of the same file: column of `Metrics.devices` to numbers by name.
    `unsure_fails` is what `gate.unsure` makes of a row whose verdict is `unsure`.
    """

    model: str
    scheme: str
    backend: str
    source: str
    status: Status
    reason: str
    artifact: str | None
    sha256: str | None
    size_bytes: int | None
    gzip_bytes: int | None
    box_ap: float | None
    mask_ap: float | None
    box_ap_float: float | None
    mask_ap_float: float | None
    box_ap_drop: float | None
    mask_ap_drop: float | None
    box_class_ap_drop: float | None = None
    box_worst_class: str | None = None
    mask_class_ap_drop: float | None = None
    mask_worst_class: str | None = None
    box_ap_interval: Interval | None = None
    mask_ap_interval: Interval | None = None
    box_ap_drop_interval: Interval | None = None
    mask_ap_drop_interval: Interval | None = None
    box_class_ap_drop_interval: Interval | None = None
    mask_class_ap_drop_interval: Interval | None = None
    box_ap_trained: float | None = None
    mask_ap_trained: float | None = None
    box_trained_drop: float | None = None
    mask_trained_drop: float | None = None
    agreement_f1: float | None
    num_images: int | None = None
    latency_p50_ms: float | None
    latency_p90_ms: float | None
    peak_rss_bytes: int | None
    verdict: Verdict
    verdict_reasons: tuple[str, ...]
    unsure_fails: bool = False
    devices: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def fails(self) -> bool:
        """Whether the gate is red because of this row."""
        return self.verdict is Verdict.FAIL or (self.verdict is Verdict.UNSURE and self.unsure_fails)


@dataclass(frozen=True, kw_only=True)
class DeviceColumn:
    """One device with one number of threads: a column of the results table.

    Attributes:
      label: The column's name: device and threads.
      cpu, system, runtime, delegate, tool, timed_on: What its numbers were measured with.
      statistic: Which latency it shows: p50, or mean where a tool told nothing else.
      remarks: Measurements that are not shown, and why: stale, failed, or of no row.
    """

    label: str
    device: str
    cpu: str
    system: str
    runtime: str
    delegate: str
    num_threads: int
    tool: str
    timed_on: str
    statistic: Literal["p50", "mean"]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """`models/report/metrics.json`."""

    split: str
    num_images: int | None
    rows: tuple[Row, ...]
    devices: tuple[DeviceColumn, ...] = ()
