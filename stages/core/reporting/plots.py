"""Numbers for `dvc metrics show` and `dvc plots show`, and which rows are dominated."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.core.base.jsonfile import write_json
from stages.core.gating.gate import BYTES_PER_MB, failures
from stages.core.reporting.curves import Curve
from stages.core.results.status import Status
from stages.core.results.table import Metrics, Row, Verdict

COSTS = {"latency": "latency_p50_ms", "size": "size_bytes"}
"""Cost that accuracy is weighed against, and the field of `Row` that holds it."""


def find_dominated(rows: Sequence[Row], cost: str, gain: str = "box_ap") -> frozenset[int]:
    """Indices of rows for which another row is at least as good in both respects and better in one.

    Args:
      cost, gain: Fields of `Row`; less cost is better, more gain is better.

    Returns:
      Only rows with both numbers are compared, and only one that passes the gate can dominate: a file that may not be
      shipped is no reason to leave another one behind.
    """
    points = [(index, getattr(row, cost), getattr(row, gain), not row.fails) for index, row in _ok(rows)]
    points = [point for point in points if point[1] is not None and point[2] is not None]
    return frozenset(
        index
        for index, own_cost, own_gain, _ in points
        if any(
            passes and other <= own_cost and got >= own_gain and (other < own_cost or got > own_gain)
            for _, other, got, passes in points
        )
    )


def write_metric_files(metrics: Metrics, folder: Path) -> None:
    """`summary.json`, and `<model>/<scheme>.json`, flat: `dvc metrics show` on them prints one line per file and one
    column per number."""
    write_json(summarize_rows(metrics), folder / "summary.json")
    for row in metrics.rows:
        write_json(row_to_numbers(row), folder / row.model / f"{row.scheme}.json")


def row_to_numbers(row: Row) -> dict[str, float]:
    """The numbers of a row that people compare between revisions; missing ones are left out."""
    numbers = {
        "box_ap": row.box_ap,
        "mask_ap": row.mask_ap,
        "box_ap_drop": row.box_ap_drop,
        "mask_ap_drop": row.mask_ap_drop,
        "latency_p50_ms": row.latency_p50_ms,
        "size_mb": None if row.size_bytes is None else row.size_bytes / BYTES_PER_MB,
        "gate_passed": None if row.verdict is Verdict.NOT_APPLICABLE else float(not row.fails),
    }
    return {key: round(value, 3) for key, value in numbers.items() if value is not None}


def summarize_rows(metrics: Metrics) -> dict[str, Any]:
    """The few numbers that `dvc exp show` and `dvc metrics diff` have a column for: the float model's AP, the largest
    drop of any file that the gate lets pass, and how many rows fail; AP and drops in points."""
    summary: dict[str, Any] = {"red": len(failures(metrics))}
    for model in dict.fromkeys(row.model for row in metrics.rows):
        rows = [row for row in metrics.rows if row.model == model]
        drops = [drop for row in rows if not row.fails for drop in (row.box_ap_drop, row.mask_ap_drop)]
        numbers = {
            "box": next((row.box_ap_float for row in rows if row.box_ap_float is not None), None),
            "mask": next((row.mask_ap_float for row in rows if row.mask_ap_float is not None), None),
            "drop": max((drop for drop in drops if drop is not None), default=None),
        }
        summary[model] = {key: round(value, 2) for key, value in numbers.items() if value is not None}
    return summary


def write_plots(metrics: Metrics, curves: Mapping[str, Sequence[Curve]], folder: Path) -> None:
    """Lists of points for DVC's plot templates.

    `accuracy_<cost>.json`: one entry per measured row. `training_loss/<model>.json` and `training_ap/<model>.json`:
    one entry per step.

    Args:
      curves: Training curves by model.
    """
    for name, cost in COSTS.items():
        write_json(accuracy_points(metrics.rows, cost), folder / f"accuracy_{name}.json")
    for model, model_curves in curves.items():
        write_json(_by_step(model_curves, "is_loss"), folder / "training_loss" / f"{model}.json")
        write_json(_by_step(model_curves, "is_ap"), folder / "training_ap" / f"{model}.json")


def accuracy_points(rows: Sequence[Row], cost: str) -> list[dict[str, Any]]:
    """Measured rows as points of an accuracy-cost plot."""
    dominated = find_dominated(rows, cost)
    return [
        {
            "row": f"{row.model}/{row.scheme}",
            "model": row.model,
            "scheme": row.scheme,
            "box_ap": row.box_ap,
            "latency_p50_ms": row.latency_p50_ms,
            "size_mb": None if row.size_bytes is None else round(row.size_bytes / BYTES_PER_MB, 3),
            "standing": _standing(row, index in dominated),
        }
        for index, row in _ok(rows)
        if row.box_ap is not None and getattr(row, cost) is not None
    ]


def _standing(row: Row, dominated: bool) -> str:
    if row.fails:
        return "fails the gate"
    return "dominated" if dominated else "best"


def _ok(rows: Sequence[Row]) -> list[tuple[int, Row]]:
    return [(index, row) for index, row in enumerate(rows) if row.status is Status.OK]


def _by_step(curves: Sequence[Curve], kind: str) -> list[dict[str, float | None]]:
    """Curves of one kind as entries {step, name: value, ...}, named by what comes last in a curve's name.

    Every entry has every name: DVC takes a list whose entries differ in their keys for no data at all.
    """
    chosen = {curve.name.rsplit("/", 1)[-1]: curve for curve in curves if getattr(curve, kind)}
    entries: dict[int, dict[str, float | None]] = {}
    for name, curve in chosen.items():
        for step, value in curve.points:
            entries.setdefault(step, {"step": step, **dict.fromkeys(chosen)})[name] = value
    return [entries[step] for step in sorted(entries)]
