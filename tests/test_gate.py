from pathlib import Path

import pytest
import yaml

from stages.core.base.errors import MissingResultError
from stages.core.base.layout import Layout
from stages.core.command_line import EXIT_GATE_RED
from stages.gate import main
from stages.report import main as report
from tests.builders import write_cell, write_project

MODEL, SCHEMES = "retinanet_mobiledet_edgetpu", ("float32", "int8")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return write_project(tmp_path, (MODEL,), SCHEMES, params={"report": {"num_pictures": 0}})


def run(layout: Layout) -> int:
    return main(["--root", str(layout.root)])


def test_green_is_one_line_and_status_0(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    report(["--root", str(layout.root)])
    capsys.readouterr()
    assert run(layout) == 0
    assert capsys.readouterr().out == "The gate is green: 2 rows, none fails.\n"


def test_red_says_which_row_which_number_which_bound_by_how_much(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cell(layout, MODEL, "int8", validation_changes={"box_ap_drop": 3.1})
    report(["--root", str(layout.root)])
    assert run(layout) == EXIT_GATE_RED == 3
    assert capsys.readouterr().err.splitlines() == [
        "red: retinanet_mobiledet_edgetpu/int8: box_ap_drop 3.10 is above 2 (gate.max_ap_drop.int8) by 1.10 points, "
        "beyond noise (95 % interval 3.05 to 3.15)",
        "The gate is red: 1 of 2 rows fail.",
    ]


def test_bounds_of_params_hold_even_before_the_report_is_written_anew(layout: Layout) -> None:
    report(["--root", str(layout.root)])
    tree = yaml.safe_load(layout.params.read_text())
    layout.params.write_text(yaml.safe_dump({**tree, "gate": {"max_size_mb": 1}}))
    assert run(layout) == EXIT_GATE_RED


def test_a_missing_number_in_the_file_fails(layout: Layout) -> None:
    report(["--root", str(layout.root)])
    text = layout.metrics.read_text()
    layout.metrics.write_text(text.replace('"box_ap_drop": 0.9', '"box_ap_drop": null'))
    assert run(layout) == EXIT_GATE_RED


def test_without_metrics_or_rows_there_is_no_verdict(layout: Layout) -> None:
    with pytest.raises(MissingResultError, match=r"metrics\.json.*stages\.report"):
        run(layout)
    report(["--root", str(layout.root)])
    tree = yaml.safe_load(layout.params.read_text())
    layout.params.write_text(yaml.safe_dump({**tree, "schemes": [*SCHEMES, "float16"]}))
    with pytest.raises(MissingResultError, match=f"no row for {MODEL}/float16"):
        run(layout)
