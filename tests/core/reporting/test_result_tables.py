import io

import pytest
from rich.console import Console

from stages.core.reporting.tables import (
    best_rows,
    columns_of,
    format_number,
    headline,
    highest_ap,
    join_titles,
    metrics_to_markdown,
    print_table,
)
from stages.core.results.status import Status
from stages.core.results.table import Metrics, Verdict
from tests.builders import row

MASKED = row(model="maskrcnn_mobiledet", mask_ap=59.3, mask_ap_float=59.8, mask_ap_drop=0.5)
RED = row(scheme="float16", verdict=Verdict.FAIL, verdict_reasons=("box_ap_drop 0.50 is above 0.2 by 0.30 points",))
ABSENT = row(
    scheme="int16x8",
    status=Status.NOT_APPLICABLE,
    box_ap=None,
    latency_p50_ms=None,
    verdict=Verdict.NOT_APPLICABLE,
    verdict_reasons=("not applicable: x | y\nz",),
)


def metrics(*rows: object) -> Metrics:
    return Metrics(split="val", num_images=200, rows=rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(65.24, 1, "65.2"), (-0.3, 2, "−0.30"), (-0.001, 2, "0.00"), (None, 1, "–"), (float("nan"), 1, "–"), (0, 0, "0")],
)
def test_numbers_for_people(value: float | None, digits: int, text: str) -> None:
    assert format_number(value, digits) == text


def test_mask_columns_show_only_where_there_are_masks() -> None:
    assert "mask_ap" not in [column.key for column in columns_of(metrics(row()))]
    assert "mask_ap" in [column.key for column in columns_of(metrics(row(), MASKED))]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ((row(),), "The gate is green: 1 row, none fails."),
        ((row(), RED), "The gate is red: 1 of 2 rows fail."),
    ],
)
def test_the_headline_counts(rows: tuple[object, ...], text: str) -> None:
    assert headline(metrics(*rows)) == text


def test_markdown_holds_every_row_in_one_table_of_even_width() -> None:
    text = metrics_to_markdown(metrics(row(), RED, ABSENT, MASKED), ["a note"])
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 4
    assert len({line.count("|") for line in table}) == 1
    assert "**FAIL**" in table[3]
    assert "| n/a |" in table[4]
    assert "- `retinanet_mobiledet_edgetpu/int16x8`: not applicable: x \\| y z" in text
    assert "a note" in text


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_terminal_table_keeps_every_row_on_one_line(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False)
    print_table(metrics(row(), row(scheme="int8_uint8_input"), RED, MASKED), [("report", "a/b.html")], console)
    lines = out.getvalue().splitlines()
    for scheme in ("int8", "int8_uint8_input", "float16"):
        assert any(f" {scheme} " in f"{line} " and ("pass" in line or "FAIL" in line) for line in lines), scheme
    assert "  ✗ retinanet_mobiledet_edgetpu/float16: box_ap_drop 0.50 is above 0.2 by 0.30 points" in lines
    assert "report  a/b.html" in lines


def test_a_narrow_terminal_keeps_accuracy_and_latency() -> None:
    out = io.StringIO()
    print_table(metrics(MASKED), [], Console(file=out, width=60, force_terminal=True, color_system=None))
    head = out.getvalue().splitlines()[1]
    assert "box AP" in head
    assert "p50 ms" in head
    assert "gzip MB" not in head


def test_only_rows_that_pass_are_recommended() -> None:
    fast_but_red = row(scheme="float16", latency_p50_ms=1.0, verdict=Verdict.FAIL)
    best = dict(best_rows(metrics(row(scheme="float32", box_ap=65.0, size_bytes=9_000_000), row(), fast_but_red)))
    assert {title: found.scheme for title, found in best.items()} == {
        "most accurate": "float32",
        "fastest": "float32",
        "smallest": "int8",
    }


def test_a_row_judged_on_fewer_images_is_not_the_most_accurate() -> None:
    few = row(scheme="int16x8", box_ap=70.0, num_images=2)
    assert dict(best_rows(metrics(few, row())))["most accurate"].scheme == "int8"


def test_a_row_that_is_the_best_in_all_respects_is_named_once() -> None:
    ((titles, best),) = join_titles(best_rows(metrics(row())))
    assert (titles, best.scheme) == ("most accurate, fastest, smallest", "int8")
    joined = join_titles(best_rows(metrics(row(), row(scheme="float32", box_ap=65.0))))
    assert [(titles, best.scheme) for titles, best in joined] == [
        ("most accurate", "float32"),
        ("fastest, smallest", "int8"),
    ]


def test_a_column_of_dashes_is_left_out() -> None:
    keys = [column.key for column in columns_of(metrics(row(gzip_bytes=None, agreement_f1=None)))]
    assert not {"gzip_bytes", "agreement_f1", "box_ap_interval", "box_ap_trained"} & set(keys)
    assert {"box_ap", "latency_p50_ms"} <= set(keys)


def test_the_highest_ap_is_told_whether_its_row_passes_or_not() -> None:
    failing = row(scheme="float16", box_ap=70.0, verdict=Verdict.FAIL)
    told = highest_ap(metrics(row(), failing, MASKED))
    assert [(title, found.scheme, number) for title, found, number in told] == [
        ("box AP", "float16", 70.0),
        ("mask AP", "int8", 59.3),
    ]
    assert highest_ap(metrics(ABSENT)) == ()
