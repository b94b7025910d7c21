"""The verdict on a row: which number breaks which bound, and by how much.

`report` writes the verdicts down, `gate` fails on them; both ask here, so they cannot disagree.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from stages.core.params.steps import FloorParams, GateParams
from stages.core.results.status import Status
from stages.core.results.table import Metrics, Row, Verdict
from stages.core.results.validation import Interval
from stages.core.tables.detectors import DETECTORS

BYTES_PER_MB = 1_000_000
"""Megabytes are decimal everywhere in params.yaml and in the report."""

_TOLERANCE = 1e-9
"""2.0 points measured as 2.0000000000000004 are still 2.0 points."""

ZERO_AP = 0.05
"""Points of AP below which a table says 0.0: such a model finds nothing, and nothing can be lost from it."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one row must keep.

    Attributes:
      max_ap_drop: Largest fall of box or mask AP against the float model, in points.
      min_box_ap, min_mask_ap: Floors, in points.
      max_class_ap_drop: Largest fall of any single class's AP, in points; None: no bound.
      max_size_mb, max_peak_rss_mb: Megabytes (10^6 bytes); None: no bound.
      allow_zero_ap: Whether a file, or the float model, may find nothing.
      has_masks: Whether the mask numbers must exist.
    """

    max_ap_drop: float
    min_box_ap: float = 0.0
    min_mask_ap: float = 0.0
    max_class_ap_drop: float | None = None
    max_size_mb: float | None = None
    max_peak_rss_mb: float | None = None
    allow_zero_ap: bool = False
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
        allow_zero_ap=gate.allow_zero_ap,
        has_masks=DETECTORS[model].has_masks if model in DETECTORS else float_masks,
    )


@dataclass(frozen=True)
class Reason:
    """One thing that speaks against a row, or does not yet speak for it.

    Attributes:
      text: What is said.
      breaks: Whether the measured number itself is beyond its bound.
      unsure: Whether the bound lies within the number's interval: other images could say otherwise.
    """

    text: str
    breaks: bool = True
    unsure: bool = False


def judge_row(row: Row, bounds: Bounds) -> tuple[Verdict, tuple[Reason, ...]]:
    """The verdict on a row and why: one reason per bound that is broken or not surely kept, or missing number.

    A failed row fails with its reason. A row that is not applicable has neither passed nor failed: nothing is shipped
    from it. A missing or non-finite number fails: what was not measured was not kept. A bound that lies within the
    interval of a number makes the row `unsure`; a number without an interval is taken as it is.
    """
    if row.status is Status.NOT_APPLICABLE:
        return Verdict.NOT_APPLICABLE, (Reason(f"not applicable: {row.reason or 'no reason given'}", breaks=False),)
    if row.status is Status.FAILED:
        return Verdict.FAIL, (Reason(f"status failed: {row.reason or 'no reason given'}"),)
    absent = (*_missing_numbers(row, bounds), *_dead(row, bounds))
    reasons = (*map(Reason, absent), *_judge_bounds(row, bounds))
    if any(not reason.unsure for reason in reasons):
        return Verdict.FAIL, reasons
    return (Verdict.UNSURE if reasons else Verdict.PASS), reasons


def judge_rows(rows: Iterable[Row], gate: GateParams) -> tuple[Row, ...]:
    """The rows with `verdict`, `verdict_reasons` and `unsure_fails` filled in."""
    judged = []
    for row in rows:
        bounds = bounds_of(row.model, row.scheme, gate, float_masks=row.mask_ap_float is not None)
        verdict, reasons = judge_row(row, bounds)
        breaks = any(reason.breaks for reason in reasons)
        unsure_fails = {"fail": True, "pass": False, "by_number": breaks}[gate.unsure]
        said = tuple(reason.text for reason in reasons)
        judged.append(replace(row, verdict=verdict, verdict_reasons=said, unsure_fails=unsure_fails))
    return tuple(judged)


def failures(metrics: Metrics) -> tuple[str, ...]:
    """One line per row that fails: which row, which number, which bound, by how much."""
    red = (row for row in metrics.rows if row.fails)
    return tuple(f"{row.model}/{row.scheme}: {'; '.join(row.verdict_reasons)}" for row in red)


def _missing_numbers(row: Row, bounds: Bounds) -> tuple[str, ...]:
    masks = ("mask_ap", "mask_ap_float", "mask_ap_drop") if bounds.has_masks else ()
    classes = ("box_class_ap_drop", *(("mask_class_ap_drop",) if bounds.has_masks else ()))
    needed = ("box_ap", "box_ap_float", "box_ap_drop", *masks, "latency_p50_ms", "size_bytes", "peak_rss_bytes")
    needed += classes if bounds.max_class_ap_drop is not None else ()
    absent = [name for name in needed if _number(getattr(row, name)) is None]
    return tuple(f"{name} is missing: it was not measured or is not finite" for name in absent)


def _dead(row: Row, bounds: Bounds) -> tuple[str, ...]:
    """One reason for each AP that is zero: no drop can be measured against it, and no floor need be set to see it."""
    if bounds.allow_zero_ap:
        return ()
    kinds = ("box", "mask") if bounds.has_masks else ("box",)
    numbers = {f"{kind}_ap{side}": whose for kind in kinds for side, whose in (("_float", "float model"), ("", "file"))}
    found = {name: (_number(getattr(row, name)), whose) for name, whose in numbers.items()}
    return tuple(
        f"{name} is {value:.2f}: the {whose} finds nothing that counts (gate.allow_zero_ap)"
        for name, (value, whose) in found.items()
        if value is not None and value < ZERO_AP
    )


def _judge_bounds(row: Row, bounds: Bounds) -> tuple[Reason, ...]:
    kinds = ("box", "mask") if bounds.has_masks else ("box",)
    floors = {"box": bounds.min_box_ap, "mask": bounds.min_mask_ap}
    drop_key, floor_key = f"gate.max_ap_drop.{row.scheme}", f"gate.floors.{row.model}"
    checks = [_judge_ap(row, f"{kind}_ap_drop", bounds.max_ap_drop, drop_key, most=True) for kind in kinds]
    checks += [_judge_ap(row, f"{kind}_ap", floors[kind], f"{floor_key}.{kind}_ap", most=False) for kind in kinds]
    checks += [
        _judge(_named("size", _megabytes(row.size_bytes), "MB"), bounds.max_size_mb, "gate.max_size_mb"),
        _judge(
            _named("peak_rss", _megabytes(row.peak_rss_bytes), "MB"), bounds.max_peak_rss_mb, "gate.max_peak_rss_mb"
        ),
    ]
    class_key = "gate.max_class_ap_drop"
    checks += [
        _judge_ap(row, f"{kind}_class_ap_drop", bounds.max_class_ap_drop, class_key, most=True) for kind in kinds
    ]
    return tuple(reason for reason in checks if reason)


@dataclass(frozen=True)
class _Measured:
    """A number with its name, unit, and the interval that it lies in on other images."""

    name: str
    value: float | None
    unit: str
    interval: Interval | None = None


def _named(name: str, value: float | None, unit: str) -> _Measured:
    return _Measured(name, _number(value), unit)


def _judge_ap(row: Row, name: str, bound: float | None, key: str, *, most: bool) -> Reason | None:
    """The reason, if any, that an AP or AP drop gives; `most`: it may be at most the bound, else at least."""
    whose = f" of {getattr(row, name.replace('_class_ap_drop', '_worst_class'))!r}" if "_class_" in name else ""
    interval: Interval | None = getattr(row, f"{name}_interval")
    return _judge(_Measured(name + whose, _number(getattr(row, name)), "points", interval), bound, key, most=most)


def _judge(measured: _Measured, bound: float | None, key: str, *, most: bool = True) -> Reason | None:
    if measured.value is None or bound is None:
        return None
    sign = 1 if most else -1
    excess, reach = sign * (measured.value - bound), measured.interval
    ends = [] if reach is None else sorted(sign * (end - bound) for end in (reach.low, reach.high))
    breaks = excess > _TOLERANCE
    unsure = bool(ends) and (ends[0] <= _TOLERANCE if breaks else ends[1] > _TOLERANCE)
    if not breaks and not unsure:
        return None
    side = "above" if most else "below"
    said = f"is {side} {bound:g} ({key}) by {_excess(excess)} {measured.unit}" if breaks else f"keeps {bound:g} ({key})"
    noise = "" if reach is None else f", {_noise(unsure)} (95 % interval {reach.low:.2f} to {reach.high:.2f})"
    return Reason(f"{measured.name} {measured.value:.2f} {said}{noise}", breaks=breaks, unsure=unsure)


def _noise(unsure: bool) -> str:
    return "within noise" if unsure else "beyond noise"


def _excess(value: float) -> str:
    """Two decimals, or two digits where that would read 0.00."""
    return f"{value:.2f}" if value >= 0.005 else f"{value:.2g}"


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _megabytes(num_bytes: int | None) -> float | None:
    return None if num_bytes is None else num_bytes / BYTES_PER_MB
