import json
from pathlib import Path

import pytest
from dvc.render.converter.vega import _lists as dvc_data_lists

from stages.core.reporting.curves import Curve
from stages.core.reporting.plots import find_dominated, summarize_rows, write_metric_files, write_plots
from stages.core.results.status import Status
from stages.core.results.table import Metrics, Verdict
from tests.builders import row


def test_a_row_is_dominated_by_one_that_is_no_worse_in_both_and_better_in_one() -> None:
    rows = [
        row(latency_p50_ms=10.0, box_ap=60.0),
        row(latency_p50_ms=12.0, box_ap=60.0),
        row(latency_p50_ms=20.0, box_ap=65.0),
        row(latency_p50_ms=10.0, box_ap=59.0),
        row(latency_p50_ms=10.0, box_ap=60.0),
    ]
    assert find_dominated(rows, "latency_p50_ms") == {1, 3}


def test_red_rows_and_rows_without_numbers_dominate_nothing() -> None:
    rows = [
        row(latency_p50_ms=10.0, box_ap=60.0),
        row(latency_p50_ms=1.0, box_ap=99.0, verdict=Verdict.FAIL),
        row(latency_p50_ms=None, box_ap=99.0),
        row(latency_p50_ms=1.0, box_ap=99.0, status=Status.NOT_APPLICABLE),
    ]
    assert find_dominated(rows, "latency_p50_ms") == frozenset()


def test_each_row_is_a_flat_file_of_numbers_for_dvc(tmp_path: Path) -> None:
    failed = row(scheme="float32", box_ap=None, box_ap_drop=None, latency_p50_ms=None, verdict=Verdict.FAIL)
    write_metric_files(Metrics(split="val", num_images=6, rows=(row(), failed)), tmp_path)
    assert json.loads((tmp_path / "retinanet_mobiledet_edgetpu" / "int8.json").read_text()) == {
        "box_ap": 64.3,
        "box_ap_drop": 0.9,
        "latency_p50_ms": 10.0,
        "size_mb": 3.8,
        "gate_passed": 1.0,
    }
    assert json.loads((tmp_path / "retinanet_mobiledet_edgetpu" / "float32.json").read_text()) == {
        "size_mb": 3.8,
        "gate_passed": 0.0,
    }


def test_plot_files_are_lists_of_flat_entries(tmp_path: Path) -> None:
    curves = (
        Curve("train/total_loss", ((10, 2.0), (20, 1.0))),
        Curve("train/learning_rate", ((10, 0.1),)),
        Curve("validation/box_ap", ((20, 30.0),)),
        Curve("validation/validation_loss", ((20, 1.5),)),
    )
    failed = row(scheme="int16x8", status=Status.FAILED, box_ap=None)
    metrics = Metrics(split="val", num_images=6, rows=(row(), failed))
    write_plots(metrics, {"retinanet_mobiledet_edgetpu": curves}, tmp_path)
    loss = json.loads((tmp_path / "training_loss" / "retinanet_mobiledet_edgetpu.json").read_text())
    assert loss == [
        {"step": 10, "total_loss": 2.0, "validation_loss": None},
        {"step": 20, "total_loss": 1.0, "validation_loss": 1.5},
    ]
    assert json.loads((tmp_path / "training_ap" / "retinanet_mobiledet_edgetpu.json").read_text()) == [
        {"step": 20, "box_ap": 30.0}
    ]
    points = json.loads((tmp_path / "accuracy_latency.json").read_text())
    assert [point["row"] for point in points] == ["retinanet_mobiledet_edgetpu/int8"]
    assert points[0]["standing"] == "best"


RAGGED = {
    "validation loss from the second entry on": (
        Curve("train/total_loss", ((10, 2.0), (20, 1.0))),
        Curve("validation/validation_loss", ((20, 1.5),)),
    ),
    "validated between two entries": (
        Curve("train/total_loss", ((10, 2.0), (20, 1.0))),
        Curve("validation/validation_loss", ((15, 1.5),)),
    ),
    "a loss that was not finite at first": (
        Curve("train/total_loss", ((20, 1.0),)),
        Curve("train/cls_loss", ((10, 1.0), (20, 0.5))),
    ),
    "AP of boxes before that of masks": (
        Curve("validation/box_ap", ((10, 1.0), (20, 2.0))),
        Curve("validation/mask_ap", ((20, 1.0),)),
    ),
}


@pytest.mark.parametrize("curves", RAGGED.values(), ids=RAGGED)
def test_dvc_finds_the_curves_of_a_ragged_history(curves: tuple[Curve, ...], tmp_path: Path) -> None:
    write_plots(Metrics(split="val", num_images=6, rows=()), {"m": curves}, tmp_path)
    found = {}
    for kind in ("training_loss", "training_ap"):
        entries = json.loads((tmp_path / kind / "m.json").read_text())
        if entries:
            (seen,) = dvc_data_lists({"file": entries})
            found |= {name: [entry for entry in seen if entry[name] is not None] for name in entries[0]}
    for curve in curves:
        assert len(found[curve.name.split("/")[1]]) == len(curve.points)


def test_the_summary_is_a_few_short_numbers() -> None:
    rows = (
        row(scheme="float32", box_ap_drop=0.0),
        row(box_ap_drop=0.9),
        row(scheme="float16", box_ap_drop=7.0, verdict=Verdict.FAIL),
        row(model="maskrcnn_mobiledet", mask_ap_float=59.8, mask_ap_drop=1.25),
    )
    assert summarize_rows(Metrics(split="val", num_images=6, rows=rows)) == {
        "red": 1,
        "retinanet_mobiledet_edgetpu": {"box": 65.2, "drop": 0.9},
        "maskrcnn_mobiledet": {"box": 65.2, "mask": 59.8, "drop": 1.25},
    }
