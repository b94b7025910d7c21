"""Weights of other labels: every stage that uses weights and prepared data refuses, and says which class differs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import benchmark, convert, validate
from stages.core.base.errors import DataError
from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import Layout
from stages.core.datasets.prepared import check_labels
from stages.core.results.preparation import PrepareReport
from tests.tflite_builder import build_detector
from tests.tiny_project import LABELS, write_conversion, write_tiny_project

MODEL = "retinanet_mobiledet_tiny"
OTHERS = {
    "as many, called otherwise": {"1": "cat", "2": "dog", "3": "aardvark"},
    "in another order": {"1": "green", "2": "red", "3": "blue"},
    "one more": {**LABELS, "4": "grey"},
    "one less": {"1": "red", "2": "green"},
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = write_tiny_project(tmp_path)
    write_conversion(layout, MODEL, "float32", build_detector())
    write_json(LABELS, layout.labels)
    write_json({"seed": 0, "split": "train", "images": []}, layout.calibration)
    return layout


def relabel(layout: Layout, labels: dict[str, str]) -> None:
    """Prepares the same images with other labels, as far as the stages read them."""
    write_json(labels, layout.labels)
    tree = json.loads(layout.annotations("val").read_text())
    tree["categories"] = [{"id": int(key), "name": name} for key, name in labels.items()]
    layout.annotations("val").write_text(json.dumps(tree))


@pytest.mark.parametrize("labels", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("main", [convert.main, validate.main], ids=["convert", "validate"])
def test_a_stage_refuses_other_labels(main: Callable[[list[str]], int], labels: dict[str, str], layout: Layout) -> None:
    relabel(layout, labels)
    before = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=r"class \d is .* in these weights .*trained on other labels"):
        main(["--model", MODEL, "--scheme", "float32", "--root", str(layout.root)])
    assert {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()} == before


def test_what_needs_no_labels_runs(layout: Layout) -> None:
    relabel(layout, OTHERS["as many, called otherwise"])
    assert benchmark.main(["--model", MODEL, "--scheme", "float32", "--root", str(layout.root)]) == 0


def test_the_first_class_that_differs_is_named() -> None:
    with pytest.raises(DataError, match=r"^result\.json: class 2 is 'green' in these weights .*'none' in"):
        check_labels(LABELS, {"1": "red"}, Path("result.json"))
    check_labels({}, {"1": "red"}, Path("result.json"))


def test_evaluating_on_other_data_is_said(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (layout.exported(MODEL, "trained"), layout.converted(MODEL, "float32")):
        path = folder / "interface.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "trained_data_sha256": "7" * 64}))
    arguments = ["--model", MODEL, "--scheme", "float32", "--root", str(layout.root)]
    assert validate.main(arguments) == 0
    assert f"note: {MODEL} is evaluated on other data than it was trained with" in capsys.readouterr().err
    report = read_json(PrepareReport, layout.prepare_report)
    layout.prepare_report.write_text(layout.prepare_report.read_text().replace(report.sha256, "7" * 64))
    assert validate.main(arguments) == 0
    assert "other data" not in capsys.readouterr().err
