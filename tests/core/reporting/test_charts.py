import itertools

import pytest

from stages.core.reporting.charts import (
    CHAR_WIDTH,
    HEIGHT,
    LABEL_HEIGHT,
    LEFT,
    WIDTH,
    Mark,
    line_chart,
    nice_ticks,
    scatter_chart,
    thin,
)
from stages.core.reporting.curves import Curve


def mark(x: float, y: float, kind: str = "best", label: str = "int8_uint8_input") -> Mark:
    return Mark(x=x, y=y, label=label, title="t", series=0, kind=kind)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (58.2, 65.9), (0.001, 0.0042), (0, 576), (-3, 3), (0, 1e7)])
def test_ticks_are_few_round_and_span_the_values(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 3 <= len(ticks) <= 8
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert all(len(f"{tick:g}") <= 7 for tick in ticks)


def test_one_point_is_no_chart() -> None:
    assert scatter_chart([mark(5, 60)], x_title="x", y_title="y") is None
    one, two = Curve("train/total_loss", ((5, 1.0),)), Curve("train/cls_loss", ((5, 1.0), (6, 0.5)))
    assert line_chart([one], y_title="y") is None
    chart = line_chart([one, two], y_title="y")
    assert chart is not None
    assert [line.name for line in chart.lines] == ["train/cls_loss"]


def test_nothing_to_draw_is_no_chart() -> None:
    assert scatter_chart([], x_title="x", y_title="y") is None
    assert line_chart([Curve("train/total_loss", ())], y_title="y") is None


@pytest.mark.parametrize("marks", [[mark(5, 60)] * 2, [mark(0.0, 0.0)] * 3], ids=len)
def test_equal_points_still_make_axes(marks: list[Mark]) -> None:
    chart = scatter_chart(marks, x_title="x", y_title="y")
    assert chart is not None
    assert all(LEFT <= m.at[0] <= WIDTH and 0 <= m.at[1] <= HEIGHT for m in chart.marks)


def test_costs_far_apart_get_a_logarithmic_axis() -> None:
    near = scatter_chart([mark(10, 60), mark(20, 61)], x_title="x", y_title="y")
    far = scatter_chart([mark(10, 60), mark(100, 61), mark(1000, 62)], x_title="x", y_title="y")
    assert near is not None
    assert far is not None
    assert near.x_ticks[0].text == "0"
    assert far.x_ticks[0].text != "0"
    first, second, third = (m.at[0] for m in far.marks)
    assert second - first == pytest.approx(third - second, abs=0.2)


def test_labels_cover_neither_points_nor_each_other() -> None:
    marks = [mark(10 + 0.3 * i, 60 + 0.2 * (i % 3), "best" if i % 2 else "dominated") for i in range(14)]
    chart = scatter_chart(marks, x_title="x", y_title="y")
    assert chart is not None
    areas = [
        (m.label_at[0], m.label_at[1] - LABEL_HEIGHT + 3, m.label_at[0] + len(m.label) * CHAR_WIDTH, m.label_at[1] + 3)
        for m in chart.marks
        if m.label_at
    ]
    assert areas
    for a, b in itertools.combinations(areas, 2):
        assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])
    for m, area in itertools.product(chart.marks, areas):
        x, y = m.at
        assert not (area[0] < x < area[2] and area[1] < y < area[3])


def test_curves_start_at_zero_and_keep_their_values() -> None:
    chart = line_chart([Curve("train/total_loss", ((10, 2.5), (20, 1.0)))], y_title="y")
    assert chart is not None
    assert (chart.x_ticks[0].text, chart.y_ticks[0].text) == ("0", "0")
    assert [(step, value) for _, _, step, value in chart.lines[0].points] == [(10, 2.5), (20, 1.0)]


def test_thinning_keeps_the_ends() -> None:
    points = [(step, float(step)) for step in range(5000)]
    thinned = thin(points, 100)
    assert len(thinned) == 100
    assert (thinned[0], thinned[-1]) == (points[0], points[-1])
