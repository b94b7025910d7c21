"""The results table: one row a file, judged."""

from dataclasses import dataclass
from enum import StrEnum

from stages.core.results.status import Status


class Verdict(StrEnum):
    """What the gate says of a row."""

    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the results table (`metrics.json`: rows). AP in points 0..100, over `num_images` of the split.

    `box_class_ap_drop` and `mask_class_ap_drop` are the drops of the class that lost most, which `*_worst_class` names.
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
    agreement_f1: float | None
    num_images: int | None = None
    latency_p50_ms: float | None
    latency_p90_ms: float | None
    peak_rss_bytes: int | None
    verdict: Verdict
    verdict_reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """`models/report/metrics.json`."""

    split: str
    num_images: int | None
    rows: tuple[Row, ...]
