"""The verdict on a row: which number breaks which bound, and by how much.

`report` writes the verdicts down, `gate` fails on them; both ask here, so they cannot disagree.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from stages.core.params.steps import FloorParams, GateParams
from stages.core.results.status import Status
from stages.core.results.table import Metrics, Row, Verdict
from stages.core.tables.detectors import DETECTORS

BYTES_PER_MB = 1_000_000
"""Megabytes are decimal everywhere in params.yaml and in the report."""

_TOLERANCE = 1e-9
"""2.0 points measured as 2.0000000000000004 are still 2.0 points."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one row must keep.

    Attributes:
      max_ap_drop: Largest fall of box or mask AP against the float model, in points.
      min_box_ap, min_mask_ap: Floors, in points.
      max_class_ap_drop: Largest fall of any single class's AP, in points; None: no bound.
      max_size_mb, max_peak_rss_mb: Megabytes (10^6 bytes); None: no bound.
      has_masks: Whether the mask numbers must exist.
    """

    max_ap_drop: float
    min_box_ap: float = 0.0
    min_mask_ap: float = 0.0
    max_class_ap_drop: float | None = None
    max_size_mb: float | None = None
    max_peak_rss_mb: float | None = None
    has_masks: bool = False


def bounds_of(model: str, scheme: str, gate: GateParams, *, float_masks: bool = False) -> Bounds:
    """The bounds of one cell: those of params.yaml, and MAX_AP_DROP's where it says nothing.

    Args:
      float_masks: Whether the float model has a mask AP; asked of models that are not in the detector table.
    """
    floor = gate.floors.get(model, FloorParams())
    return Bounds(
        max_ap_drop=gate.max_ap_drop[scheme],
        min_box_ap=floor.box_ap,
        min_mask_ap=floor.mask_ap,
        max_class_ap_drop=gate.max_class_ap_drop,
        max_size_mb=gate.max_size_mb,
        max_peak_rss_mb=gate.max_peak_rss_mb,
        has_masks=DETECTORS[model].has_masks if model in DETECTORS else float_masks,
    )


def judge_row(row: Row, bounds: Bounds) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict on a row and why: one reason per broken bound or missing number.

    A failed row fails with its reason. A row that is not applicable passes, and says so: nothing is shipped from it.
    A missing or non-finite number fails: what was not measured was not kept.
    """
    if row.status is Status.NOT_APPLICABLE:
        return Verdict.PASS, (f"not applicable: {row.reason or 'no reason given'}",)
    if row.status is Status.FAILED:
        return Verdict.FAIL, (f"status failed: {row.reason or 'no reason given'}",)
    reasons = (*_missing_numbers(row, bounds), *_broken_bounds(row, bounds))
    return (Verdict.FAIL if reasons else Verdict.PASS), reasons


def judge_rows(rows: Iterable[Row], gate: GateParams) -> tuple[Row, ...]:
    """The rows with `verdict` and `verdict_reasons` filled in."""
    judged = []
    for row in rows:
        bounds = bounds_of(row.model, row.scheme, gate, float_masks=row.mask_ap_float is not None)
        verdict, reasons = judge_row(row, bounds)
        judged.append(replace(row, verdict=verdict, verdict_reasons=reasons))
    return tuple(judged)


def failures(metrics: Metrics) -> tuple[str, ...]:
    """One line per row that fails: which row, which number, which bound, by how much."""
    red = (row for row in metrics.rows if row.verdict is Verdict.FAIL)
    return tuple(f"{row.model}/{row.scheme}: {'; '.join(row.verdict_reasons)}" for row in red)


def _missing_numbers(row: Row, bounds: Bounds) -> tuple[str, ...]:
    masks = ("mask_ap", "mask_ap_float", "mask_ap_drop") if bounds.has_masks else ()
    classes = ("box_class_ap_drop", *(("mask_class_ap_drop",) if bounds.has_masks else ()))
    needed = ("box_ap", "box_ap_float", "box_ap_drop", *masks, "latency_p50_ms", "size_bytes", "peak_rss_bytes")
    needed += classes if bounds.max_class_ap_drop is not None else ()
    absent = [name for name in needed if _number(getattr(row, name)) is None]
    return tuple(f"{name} is missing: it was not measured or is not finite" for name in absent)


def _broken_bounds(row: Row, bounds: Bounds) -> tuple[str, ...]:
    drop_key = f"gate.max_ap_drop.{row.scheme}"
    checks = [
        _above("box_ap_drop", row.box_ap_drop, bounds.max_ap_drop, drop_key, "points"),
        _below("box_ap", row.box_ap, bounds.min_box_ap, f"gate.floors.{row.model}.box_ap", "points"),
        _above("size", _megabytes(row.size_bytes), bounds.max_size_mb, "gate.max_size_mb", "MB"),
        _above("peak_rss", _megabytes(row.peak_rss_bytes), bounds.max_peak_rss_mb, "gate.max_peak_rss_mb", "MB"),
    ]
    kinds = ("box", "mask") if bounds.has_masks else ("box",)
    checks += [_class_above(row, kind, bounds.max_class_ap_drop) for kind in kinds]
    if bounds.has_masks:
        checks[1:1] = [_above("mask_ap_drop", row.mask_ap_drop, bounds.max_ap_drop, drop_key, "points")]
        checks[3:3] = [_below("mask_ap", row.mask_ap, bounds.min_mask_ap, f"gate.floors.{row.model}.mask_ap", "points")]
    return tuple(reason for reason in checks if reason)


def _class_above(row: Row, kind: str, bound: float | None) -> str:
    name = f"{kind}_class_ap_drop of {getattr(row, f'{kind}_worst_class')!r}"
    return _above(name, getattr(row, f"{kind}_class_ap_drop"), bound, "gate.max_class_ap_drop", "points")


def _above(name: str, value: float | None, bound: float | None, key: str, unit: str) -> str:
    number = _number(value)
    if number is None or bound is None or number <= bound + _TOLERANCE:
        return ""
    return f"{name} {number:.2f} is above {bound:g} ({key}) by {_excess(number - bound)} {unit}"


def _below(name: str, value: float | None, bound: float, key: str, unit: str) -> str:
    number = _number(value)
    if number is None or number >= bound - _TOLERANCE:
        return ""
    return f"{name} {number:.2f} is below {bound:g} ({key}) by {_excess(bound - number)} {unit}"


def _excess(value: float) -> str:
    """Two decimals, or two digits where that would read 0.00."""
    return f"{value:.2f}" if value >= 0.005 else f"{value:.2g}"


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _megabytes(num_bytes: int | None) -> float | None:
    return None if num_bytes is None else num_bytes / BYTES_PER_MB
