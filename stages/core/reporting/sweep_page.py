"""A sweep as a Markdown table and as a page with its plots."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.core.gating.gate import BYTES_PER_MB
from stages.core.reporting.charts import Chart, Mark, plot_lines, scatter_chart
from stages.core.reporting.page import page_templates
from stages.core.reporting.tables import format_number
from stages.core.results.status import Status
from stages.core.results.table import Row

AXES = (("latency p50, ms", "latency_p50_ms", 1), ("size, MB", "size_bytes", BYTES_PER_MB))
"""Title, field of `Row` and unit of what a file costs."""


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """One file of a sweep: the value it was made with, and its row of the results table."""

    value: str
    row: Row


@dataclass(frozen=True)
class SweepCard:
    """A chart with its title."""

    title: str
    chart: Chart


def points_to_markdown(sweep: str, points: Sequence[SweepPoint]) -> str:
    """A Markdown table, a line a file."""
    head = [sweep, "model", "scheme", "box AP", "mask AP", "drop", "p50 ms", "size MB", "gate"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for point in points:
        row = point.row
        size_mb = None if row.size_bytes is None else row.size_bytes / BYTES_PER_MB
        numbers = [format_number(value) for value in (row.box_ap, row.mask_ap, row.box_ap_drop, row.latency_p50_ms)]
        cells = [point.value, row.model, row.scheme, *numbers, format_number(size_mb, 2), row.verdict.value]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def render_sweep(sweep: str, about: str, points: Sequence[SweepPoint]) -> str:
    """The page as HTML; it needs nothing beside it and makes no request."""
    return (
        page_templates()
        .get_template("sweep.html.jinja")
        .render(
            sweep=sweep,
            about=about,
            cards=draw_sweep(sweep, points),
            points=points,
            curves=draw_values(sweep, points),
            schemes=_series(points),
            bytes_per_mb=BYTES_PER_MB,
        )
    )


def draw_sweep(sweep: str, points: Sequence[SweepPoint]) -> list[SweepCard]:
    """Accuracy against latency and against size, for boxes and, where there are any, masks."""
    series = _series(points)
    cards = []
    for gain in ("box_ap", "mask_ap"):
        for title, cost, unit in AXES:
            made = [point for point in points if _is_measured(point.row, cost, gain)]
            marks = [
                Mark(
                    x=getattr(point.row, cost) / unit,
                    y=getattr(point.row, gain),
                    label=point.value,
                    title=f"{sweep} {point.value}\n{point.row.model} / {point.row.scheme}",
                    series=series.index(_series_of(point, points)),
                    kind="red" if point.row.fails else "best" if _is_best(point.row, made, cost, gain) else "dominated",
                )
                for point in made
            ]
            name = gain.replace("_ap", " AP")
            if chart := scatter_chart(marks, x_title=title, y_title=f"{name}, points"):
                cards.append(SweepCard(f"{name} against {title.split(',')[0]}", chart))
    return cards


def draw_values(sweep: str, points: Sequence[SweepPoint]) -> list[SweepCard]:
    """Accuracy over the value itself, a line for each file; nothing for values that are no numbers."""
    cards = []
    for gain in ("box_ap", "mask_ap"):
        lines: dict[str, list[tuple[float, float]]] = {name: [] for name in _series(points)}
        for point in points:
            value, measured = _as_number(point.value), getattr(point.row, gain)
            if value is not None and measured is not None and point.row.status is Status.OK:
                lines[_series_of(point, points)].append((value, measured))
        name = gain.replace("_ap", " AP")
        ordered = [(label, sorted(found)) for label, found in lines.items()]
        if chart := plot_lines(ordered, x_title=sweep.replace("_", " "), y_title=f"{name}, points"):
            cards.append(SweepCard(f"{name} over {sweep.replace('_', ' ')}", chart))
    return cards


def _as_number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _series(points: Sequence[SweepPoint]) -> list[str]:
    return list(dict.fromkeys(_series_of(point, points) for point in points))


def _series_of(point: SweepPoint, points: Sequence[SweepPoint]) -> str:
    """What a point's colour stands for: its scheme, with the model where the values do not say it."""
    models: dict[str, set[str]] = {}
    for other in points:
        models.setdefault(other.value, set()).add(other.row.model)
    several = any(len(names) > 1 for names in models.values())
    return f"{point.row.model} {point.row.scheme}" if several else point.row.scheme


def _is_measured(row: Row, cost: str, gain: str) -> bool:
    return row.status is Status.OK and getattr(row, cost) is not None and getattr(row, gain) is not None


def _is_best(row: Row, others: Sequence[SweepPoint], cost: str, gain: str) -> bool:
    """Whether no other file that passes is at least as good in both and better in one."""
    own = (getattr(row, cost), -getattr(row, gain))
    rivals = [(getattr(p.row, cost), -getattr(p.row, gain)) for p in others if not p.row.fails]
    return not any(all(a <= b for a, b in zip(rival, own, strict=True)) and rival != own for rival in rivals)
