"""Sweeps: what a value changes, experiments of a small DAG that each run once, the table and the page."""

from dataclasses import replace
from pathlib import Path

import pytest
from builders import row

from stages.core.base.errors import ParamsError, UsageError
from stages.core.launching.experiments import capture
from stages.core.launching.sweep import SHOW, SWEEPS, complete_tree, run_sweep, to_overrides
from stages.core.reporting.sweep_page import SweepPoint, draw_sweep, draw_values, points_to_markdown, render_sweep
from tests.made_up_project import write_made_up_project

ROOT = Path(__file__).resolve().parents[3]
MODEL = "retinanet_mobiledet_tiny"
SCRIPT = """
import json, yaml
height, width = yaml.safe_load(open("params.yaml"))["train"]["retinanet_mobiledet_tiny"]["input_size"]
open("log.txt", "a").write(f"{height}x{width}\\n")
row = json.load(open("stages/row.json")) | {"box_ap": height / 4, "latency_p50_ms": width / 10}
json.dump({"split": "val", "num_images": 3, "rows": [row]}, open("models/report/metrics.json", "w"))
"""

CHANGES = {
    ("input_size", "256"): [f"train.{MODEL}.input_size=[256, 256]"],
    ("input_size", "256x320"): [f"train.{MODEL}.input_size=[256, 320]"],
    ("sparsity", "0.7"): ["prune.target_sparsity=0.7"],
    ("backbone", "retinanet_mobiledet_dsp"): ["models=[retinanet_mobiledet_dsp]"],
    ("anchors", "3.5"): [f"train.{MODEL}.anchors.size=3.5", f"train.{MODEL}.anchors.fit=false"],
    ("anchors", "fit"): [f"train.{MODEL}.anchors.fit=true"],
    ("width", "0.5"): [f"train.{MODEL}.width=0.5"],
    ("num_proposals", "200"): ["export.num_proposals=200"],
    ("score_threshold", "0.01"): ["export.score_threshold=0.01"],
}


@pytest.mark.parametrize(("sweep", "value"), CHANGES)
def test_what_a_value_changes(sweep: str, value: str) -> None:
    assert to_overrides(SWEEPS[sweep].change(value, [MODEL])) == CHANGES[sweep, value]


def test_every_key_that_changes_is_there_before() -> None:
    tree = {"models": [MODEL], "train": {"common": {}, MODEL: {"batch_size": 2}}}
    changes = [SWEEPS["backbone"].change(name, [MODEL]) for name in SWEEPS["backbone"].values]
    assert complete_tree(tree, changes)["train"]["retinanet_mobiledet_gpu"] == {"batch_size": 2}
    sized = complete_tree(tree, [SWEEPS["input_size"].change("320", [MODEL])])
    assert sized["train"][MODEL] == {"batch_size": 2, "input_size": [320, 320]}
    assert tree["train"] == {"common": {}, MODEL: {"batch_size": 2}}


BAD = {
    ("input_size", "big"): (UsageError, "'big' is no whole number"),
    ("input_size", "100"): (ParamsError, "input_size"),
    ("sparsity", "1.5"): (ParamsError, "target_sparsity"),
    ("sparsity", "0.5"): (UsageError, "no scheme in use starts from pruned weights"),
    ("backbone", "mobiledet_cpu"): (UsageError, "is called 'retinanet_mobiledet_cpu' now"),
    ("anchors", "many"): (UsageError, "'many' is no number"),
}


@pytest.mark.parametrize(("sweep", "value"), BAD)
def test_a_bad_value_is_refused_before_anything_runs(project: Path, sweep: str, value: str) -> None:
    error, says = BAD[sweep, value]
    with pytest.raises(error, match=says):
        run_sweep(project, sweep, [value], project / "params.yaml", project / "sweep", print)
    assert not (project / "sweep").exists()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose DAG is one stage that makes up a results table and logs its runs."""
    project, runs = tmp_path / "project", tmp_path / "runs.txt"
    script = SCRIPT.replace("log.txt", str(runs))
    write_made_up_project(project, script, row(model=MODEL, scheme="float32"), params="train")
    return project


@pytest.mark.slow
def test_every_value_runs_once_and_ends_in_a_plot(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[str] = []
    monkeypatch.setattr(
        "stages.core.launching.sweep.publish_experiment", lambda folder, name, commit, uri: published.append(name)
    )
    for values in (["128"], ["128", "192x256"]):
        said: list[str] = []
        assert run_sweep(project, "input_size", values, project / "params.yaml", tmp_path / "sweep", said.append) == 0
    assert (tmp_path / "runs.txt").read_text().split() == ["128x128", "192x256"]
    assert published == ["input_size-128", "input_size-128", "input_size-192x256"]
    assert said[-1].startswith(f"experiments: cd {tmp_path / 'sweep'} && dvc exp show --only-changed")
    shown = capture(["bash", "-c", f"{SHOW} --csv"], tmp_path / "sweep").splitlines()
    assert f"train.{MODEL}.input_size" in shown[0]
    assert not any(unchanged in shown[0] for unchanged in ("stages/", "schemes"))
    assert {line.split(",")[0] for line in shown[1:]} >= {"input_size-128", "input_size-192x256"}
    table = (tmp_path / "sweep" / "sweep.md").read_text()
    assert f"| 128 | {MODEL} | float32 | 32.0 |" in table
    assert f"| 192x256 | {MODEL} | float32 | 48.0 |" in table
    assert "<circle" in (tmp_path / "sweep" / "sweep.html").read_text()


POINTS = [
    SweepPoint(value="192", row=row(model=MODEL, scheme="int8", box_ap=40.0, mask_ap=None, latency_p50_ms=3.0)),
    SweepPoint(value="256", row=row(model=MODEL, scheme="int8", box_ap=50.0, mask_ap=None, latency_p50_ms=6.0)),
    SweepPoint(value="320", row=row(model=MODEL, scheme="int8", box_ap=45.0, mask_ap=None, latency_p50_ms=9.0)),
    SweepPoint(value="512", row=row(model=MODEL, scheme="int8", box_ap=None, mask_ap=None, latency_p50_ms=30.0)),
]


def test_the_plot_shows_what_was_measured_and_what_is_beaten() -> None:
    latency, _ = draw_sweep("input_size", POINTS)
    assert [(mark.label, mark.kind) for mark in latency.chart.marks] == [
        ("192", "best"),
        ("256", "best"),
        ("320", "dominated"),
    ]
    page = render_sweep("input_size", "input size", POINTS)
    assert page.count("<figure") == 3
    assert points_to_markdown("input_size", POINTS).count("\n") == 2 + len(POINTS)


def test_accuracy_over_the_value() -> None:
    (card,) = draw_values("input_size", POINTS)
    assert (card.title, card.chart.x_title) == ("box AP over input size", "input size")
    assert [(x, y) for _, _, x, y in card.chart.lines[0].points] == [(192, 40), (256, 50), (320, 45)]
    assert draw_values("backbone", [replace(point, value="a name") for point in POINTS]) == []


def test_two_models_are_told_apart_by_colour() -> None:
    other = [replace(point, row=replace(point.row, model="ssdlite_tiny", box_ap=30.0)) for point in POINTS[:3]]
    (card,) = draw_values("input_size", [*POINTS, *other])
    assert [line.name for line in card.chart.lines] == [f"{MODEL} int8", "ssdlite_tiny int8"]
    latency, _ = draw_sweep("input_size", [*POINTS, *other])
    assert {mark.series for mark in latency.chart.marks} == {0, 1}


def test_nothing_measured_is_said() -> None:
    assert "No file of this sweep was measured" in render_sweep("width", "width", [])
