import json
import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.base.errors import MissingResultError
from stages.core.base.hashing import hash_file
from stages.core.base.layout import Layout
from stages.core.datasets.subset import choose_subset
from stages.report import main
from tests.builders import write_cell, write_project

MODELS, SCHEMES = ("retinanet_mobiledet_edgetpu", "maskrcnn_mobiledet"), ("float32", "int8")
ROW_KEYS = """
model scheme backend source status reason artifact sha256 size_bytes gzip_bytes box_ap mask_ap box_ap_float
mask_ap_float box_ap_drop mask_ap_drop box_class_ap_drop box_worst_class mask_class_ap_drop mask_worst_class
box_ap_interval mask_ap_interval box_ap_drop_interval mask_ap_drop_interval box_class_ap_drop_interval
mask_class_ap_drop_interval box_ap_trained mask_ap_trained box_trained_drop mask_trained_drop
agreement_f1 num_images latency_p50_ms latency_p90_ms peak_rss_bytes verdict
verdict_reasons unsure_fails devices
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return write_project(tmp_path, MODELS, SCHEMES, params={"report": {"num_pictures": 2}})


def run(layout: Layout, *args: str) -> int:
    return main(["--root", str(layout.root), *args])


def files_of(layout: Layout) -> dict[str, str]:
    return {
        str(path.relative_to(layout.report)): hash_file(path)
        for path in sorted(layout.report.rglob("*"))
        if path.is_file()
    }


def test_the_report_is_a_table_a_page_and_files_for_dvc(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(layout) == 0
    assert capsys.readouterr().out == f"The gate is green: 4 rows, none fails. {layout.report}/index.html\n"
    assert set(files_of(layout)) == {
        "index.html",
        "metrics.json",
        "report.md",
        "metrics/summary.json",
        *(f"metrics/{model}/{scheme}.json" for model in MODELS for scheme in SCHEMES),
        "plots/accuracy_latency.json",
        "plots/accuracy_size.json",
        *(f"plots/confusion/{model}/{scheme}.csv" for model in MODELS for scheme in SCHEMES),
        *(f"plots/training_{kind}/{model}.json" for kind in ("ap", "loss") for model in MODELS),
        *(f"pictures/{model}/{image_id:06d}.jpg" for model in MODELS for image_id in choose_subset(range(1, 7), 2)),
    }


def test_metrics_hold_exactly_the_agreed_keys(layout: Layout) -> None:
    run(layout)
    metrics = json.loads(layout.metrics.read_text())
    assert [list(row) for row in metrics["rows"]] == [ROW_KEYS.split()] * 4
    assert [(row["model"], row["scheme"]) for row in metrics["rows"]] == [(m, s) for m in MODELS for s in SCHEMES]


def test_the_same_results_give_the_same_bytes(layout: Layout) -> None:
    run(layout)
    first = files_of(layout)
    run(layout)
    assert files_of(layout) == first


def test_what_an_earlier_report_left_goes_away(layout: Layout) -> None:
    stale = layout.report / "pictures" / "old_model" / "000009.jpg"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    run(layout)
    assert not stale.exists()


def test_a_red_row_is_reported_and_not_an_error(layout: Layout) -> None:
    write_cell(layout, "retinanet_mobiledet_edgetpu", "int8", validation_changes={"box_ap_drop": 3.1})
    assert run(layout) == 0
    rows = json.loads(layout.metrics.read_text())["rows"]
    assert [row["verdict"] for row in rows] == ["pass", "fail", "pass", "pass"]
    assert rows[1]["box_ap_drop"] == 3.1


def test_the_table_alone_needs_only_metrics(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    run(layout)
    layout.params.unlink()
    capsys.readouterr()
    assert run(layout, "--table") == 0
    printed = capsys.readouterr().out
    assert "int8" in printed
    assert "The gate is green: 4 rows, none fails." in printed
    assert f"report  {layout.report / 'index.html'}" in printed
    assert "make ui" in printed


@pytest.mark.parametrize("args", [(), ("--table",)], ids=["report", "table"])
def test_nothing_to_report_names_the_stage(args: tuple[str, ...], layout: Layout) -> None:
    layout.validated("retinanet_mobiledet_edgetpu", "float32").unlink()
    with pytest.raises(MissingResultError, match=r"stages\.(validate|report)"):
        run(layout, *args)


def test_reporting_loads_neither_tensorflow_nor_mlflow(layout: Layout) -> None:
    code = (
        "import sys; from stages.report import main; from stages.gate import main as gate\n"
        f"assert main(['--root', {str(layout.root)!r}]) == 0 and gate(['--root', {str(layout.root)!r}]) == 0\n"
        "print(sorted(m for m in ('tensorflow', 'tf_keras', 'mlflow', 'ai_edge_litert') if m in sys.modules))"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
