"""Scatter and line charts as positions in pixels; templates/charts.jinja draws them as SVG.

Drawn by hand because a page with plotly.js embedded weighs 4.5 MB, and this one is read on phones.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stages.core.reporting.curves import Curve
from stages.core.reporting.texts import overlap

WIDTH, HEIGHT = 480, 340
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 40
LABEL_HEIGHT, CHAR_WIDTH = 13, 6.3
LOG_RATIO = 12.0
"""Costs that span more than this are drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Tick:
    """A position in pixels and what is written there."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One point of a scatter chart.

    Attributes:
      x, y: Values in the units of the axes.
      label: Short name, written beside the point where there is room.
      title: Everything about the point, shown when it is pointed at.
      series: Index of its colour.
      kind: best, dominated or red: how it is drawn.
      at: Position in pixels.
      label_at: Where the label is written, its left end; None: no room.
    """

    x: float
    y: float
    label: str
    title: str
    series: int
    kind: str
    at: tuple[float, float] = (0.0, 0.0)
    label_at: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a line chart: its points in pixels, and (step, value) as they were; `label` is what people read."""

    name: str
    label: str
    series: int
    path: str
    points: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart, ready to be drawn."""

    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...] = ()
    lines: tuple[Line, ...] = ()
    frontier: str = ""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM


def scatter_chart(marks: Sequence[Mark], *, x_title: str, y_title: str) -> Chart | None:
    """Points on a cost axis (less is better) and an accuracy axis; None for fewer than two, which compare nothing."""
    if len(marks) < 2:
        return None
    x_of, x_ticks = _cost_axis([mark.x for mark in marks])
    y_of, y_ticks = _linear_axis([mark.y for mark in marks], (HEIGHT - BOTTOM, TOP), pad=0.12)
    placed = [replace(mark, at=(round(x_of(mark.x), 1), round(y_of(mark.y), 1))) for mark in marks]
    best = sorted((mark.at for mark in placed if mark.kind == "best"), key=lambda at: (at[0], at[1]))
    return Chart(
        x_title=x_title,
        y_title=y_title,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        marks=place_labels(placed),
        frontier=_steps(best),
    )


def line_chart(curves: Sequence[Curve], *, y_title: str) -> Chart | None:
    """Curves over steps; None where no curve has two points. A curve with one is left out: it has no course."""
    return plot_lines([(curve.name, curve.points) for curve in curves], x_title="step", y_title=y_title)


def plot_lines(
    curves: Sequence[tuple[str, Sequence[tuple[float, float]]]], *, x_title: str, y_title: str
) -> Chart | None:
    """Named lines through points (x, y), both axes from 0; None where none has two points."""
    curves = [curve for curve in curves if len(curve[1]) > 1]
    if not curves:
        return None
    across = [x for _, points in curves for x, _ in points]
    values = [y for _, points in curves for _, y in points]
    x_of, x_ticks = _linear_axis([0.0, *map(float, across)], (LEFT, WIDTH - RIGHT), pad=0.0)
    y_of, y_ticks = _linear_axis([0.0, *values], (HEIGHT - BOTTOM, TOP), pad=0.05)
    lines = []
    for series, (name, found) in enumerate(curves):
        points = tuple((round(x_of(x), 1), round(y_of(y), 1), float(x), y) for x, y in thin(found))
        path = "M" + "L".join(f"{x:g},{y:g}" for x, y, _, _ in points)
        lines.append(Line(name=name, label=name.rsplit("/", 1)[-1], series=series, path=path, points=points))
    return Chart(x_title=x_title, y_title=y_title, x_ticks=x_ticks, y_ticks=y_ticks, lines=tuple(lines))


def recall_chart(curves: Sequence[tuple[str, Sequence[float]]]) -> Chart | None:
    """Precision over recall, 0..1, of curves by name; None where no curve has a point.

    Args:
      curves: Names, and precision at recalls 0, 0.01, 0.02, ... as far as each goes.
    """
    curves = [curve for curve in curves if curve[1]]
    if not curves:
        return None
    x_of, x_ticks = _linear_axis([0.0, 1.0], (LEFT, WIDTH - RIGHT), pad=0.0)
    y_of, y_ticks = _linear_axis([0.0, 1.0], (HEIGHT - BOTTOM, TOP), pad=0.0)
    lines = []
    for series, (name, precision) in enumerate(curves):
        # Every second recall is as much as shows at this width.
        steps = sorted({*range(0, len(precision), 2), len(precision) - 1})
        points = tuple((round(x_of(n / 100), 1), round(y_of(precision[n]), 1), n / 100, precision[n]) for n in steps)
        path = "M" + "L".join(f"{x:g},{y:g}" for x, y, _, _ in points)
        lines.append(Line(name=name, label=name, series=series, path=path, points=points))
    return Chart(x_title="recall", y_title="precision", x_ticks=x_ticks, y_ticks=y_ticks, lines=tuple(lines))


def thin(points: Sequence[tuple[float, float]], limit: int = 240) -> list[tuple[float, float]]:
    """At most `limit` points at even spacing, first and last kept: more do not show at this width."""
    if len(points) <= limit:
        return list(points)
    stride = (len(points) - 1) / (limit - 1)
    return [points[round(index * stride)] for index in range(limit)]


def place_labels(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """Puts labels beside their points where they cover neither a point nor each other; best points first."""
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in (mark.at for mark in marks)]
    placed: dict[int, tuple[float, float]] = {}
    order = sorted(range(len(marks)), key=lambda index: ("best", "red", "dominated").index(marks[index].kind))
    for index in order:
        (x, y), width = marks[index].at, len(marks[index].label) * CHAR_WIDTH
        for left, base in ((x + 9, y + 4), (x - 9 - width, y + 4), (x - width / 2, y - 10), (x - width / 2, y + 19)):
            area = (left, base - LABEL_HEIGHT + 3, left + width, base + 3)
            inside = area[0] >= LEFT and area[2] <= WIDTH - 2 and area[1] >= 2 and area[3] <= HEIGHT - BOTTOM
            if inside and not any(overlap(area, other) for other in taken):
                taken.append(area)
                placed[index] = (round(left, 1), round(base, 1))
                break
    return tuple(replace(mark, label_at=placed.get(index)) for index, mark in enumerate(marks))


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers that span low..high: multiples of 1, 2 or 5 times a power of ten."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= count + 0.5)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def _linear_axis(
    values: Sequence[float], pixels: tuple[float, float], *, pad: float
) -> tuple[Callable[[float], float], tuple[Tick, ...]]:
    low, high = min(values), max(values)
    margin = (high - low) * pad or max(abs(high) * 0.02, 0.5) * (pad > 0)
    low, high = (max(0.0, low - margin) if low >= 0 else low - margin), high + margin
    if low == high:
        high = low + 1.0
    ticks = nice_ticks(low, high)
    low, high = ticks[0], ticks[-1]

    def position(value: float) -> float:
        return pixels[0] + (value - low) / (high - low) * (pixels[1] - pixels[0])

    return position, tuple(Tick(round(position(tick), 1), f"{tick:g}") for tick in ticks)


def _cost_axis(values: Sequence[float]) -> tuple[Callable[[float], float], tuple[Tick, ...]]:
    low, high = min(values), max(values)
    if low <= 0 or high / low <= LOG_RATIO:
        return _linear_axis([0.0, *values], (LEFT, WIDTH - RIGHT), pad=0.0)
    ticks = [base * 10.0**power for power in range(-3, 7) for base in (1, 2, 5)]
    first = max(index for index, tick in enumerate(ticks) if tick <= low * 0.9)
    last = min(index for index, tick in enumerate(ticks) if tick >= high * 1.1)
    start, span = math.log(ticks[first]), math.log(ticks[last] / ticks[first])

    def position(value: float) -> float:
        return LEFT + (math.log(value) - start) / span * (WIDTH - RIGHT - LEFT)

    return position, tuple(Tick(round(position(tick), 1), f"{tick:g}") for tick in ticks[first : last + 1])


def _steps(points: Sequence[tuple[float, float]]) -> str:
    """The edge of what is reachable: right along a point's accuracy, then up to the next better one."""
    if len(points) < 2:
        return ""
    path = f"M{points[0][0]:g},{points[0][1]:g}"
    for x, y in points[1:]:
        path += f"H{x:g}V{y:g}"
    return path
