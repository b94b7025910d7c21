from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.layout import Layout
from stages.core.params.steps import GateParams
from stages.core.reporting.collect import cell_to_row, cells_to_metrics, check_complete, read_cell, read_cells
from stages.core.results.status import Status
from stages.core.results.table import Verdict
from stages.core.results.validation import Accuracy, Protocol
from tests.builders import average_precision, train_result, validation, write_cell, write_project

MODEL, SCHEME = "retinanet_mobiledet_edgetpu", "int8"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return write_project(tmp_path, (MODEL,), ("float32", SCHEME))


MISSING = {
    "convert": lambda layout: layout.converted(MODEL, SCHEME) / "result.json",
    "convert (proof)": lambda layout: layout.converted(MODEL, SCHEME) / "proof.json",
    "validate": lambda layout: layout.validated(MODEL, SCHEME),
    "benchmark": lambda layout: layout.benchmarked(MODEL, SCHEME),
}


@pytest.mark.parametrize("stage", MISSING)
def test_a_missing_record_names_the_stage_to_run(stage: str, layout: Layout) -> None:
    path = MISSING[stage](layout)
    path.unlink()
    with pytest.raises(MissingResultError) as caught:
        read_cells(layout, (MODEL,), ("float32", SCHEME))
    assert str(path) in str(caught.value)
    assert f"stages.{stage.split()[0]} --model {MODEL} --scheme {SCHEME}" in str(caught.value)


def test_a_damaged_record_is_named(layout: Layout) -> None:
    layout.validated(MODEL, SCHEME).write_text('{"model": 3')
    with pytest.raises(ArtifactError, match=r"int8\.json"):
        read_cell(layout, MODEL, SCHEME)


def test_rows_come_by_model_and_scheme(layout: Layout) -> None:
    metrics = cells_to_metrics(read_cells(layout, (MODEL,), ("float32", SCHEME)), GateParams())
    assert [(row.model, row.scheme) for row in metrics.rows] == [(MODEL, "float32"), (MODEL, SCHEME)]
    assert (metrics.split, metrics.num_images) == ("val", 6)
    row = metrics.rows[1]
    assert (row.box_ap, row.box_ap_float, row.box_ap_drop) == (64.3, 65.2, 0.9)
    assert (row.latency_p50_ms, row.verdict) == (10.0, Verdict.PASS)
    assert row.agreement_f1 == pytest.approx(0.9525)


@pytest.mark.parametrize(
    ("lost", "drop", "name"),
    [
        ({}, 0.0, "circle"),
        ({"triangle": 12.5}, 12.5, "triangle"),
        ({"circle": -3.0, "square": -2.0, "triangle": -1.0}, -1.0, "triangle"),
        ({"circle": 5.0, "triangle": None}, 5.0, "circle"),
        ({"circle": None, "square": None, "triangle": None}, None, None),
    ],
    ids=["nothing", "one class", "all gain", "one without objects", "no objects"],
)
def test_the_class_that_lost_most_is_named(
    lost: dict[str, float | None], drop: float | None, name: str | None, layout: Layout
) -> None:
    before = average_precision(64.0)
    after = {
        key: None if lost.get(key, 0.0) is None else (value or 0) - (lost.get(key) or 0)
        for key, value in before.per_class.items()
    }
    changes = {"reference": Accuracy(box=before), "accuracy": Accuracy(box=replace(before, per_class=after))}
    write_cell(layout, MODEL, SCHEME, validation_changes=changes)
    row = cell_to_row(read_cell(layout, MODEL, SCHEME))
    assert (row.box_class_ap_drop, row.box_worst_class) == (drop, name)
    assert (row.mask_class_ap_drop, row.mask_worst_class) == (None, None)


@dataclass(frozen=True)
class Ending:
    """How one record ends, and what the row must say."""

    id: str
    changes: dict[str, dict[str, Any]]
    status: Status
    says: str
    absent: tuple[str, ...] = ()


OTHER = "cd" * 32
FAILED = {"status": Status.FAILED, "reason": "segfault (signal 11)"}
ENDINGS = [
    Ending("conversion failed", {"conversion_changes": FAILED}, Status.FAILED, "segfault (signal 11)"),
    Ending(
        "not applicable",
        {"conversion_changes": {"status": Status.NOT_APPLICABLE, "reason": "no masks"}},
        Status.NOT_APPLICABLE,
        "no masks",
    ),
    Ending("validation failed", {"validation_changes": FAILED}, Status.FAILED, "validate: segfault (signal 11)"),
    Ending("benchmark failed", {"benchmark_changes": FAILED}, Status.FAILED, "benchmark: segfault (signal 11)"),
    Ending(
        "validated another file",
        {"validation_changes": {"artifact_sha256": OTHER}},
        Status.FAILED,
        "validate's numbers belong to another file (sha256 cdcdcdcdcdcd",
        ("box_ap", "box_ap_drop", "box_ap_float", "agreement_f1"),
    ),
    Ending(
        "benchmarked another file",
        {"benchmark_changes": {"artifact_sha256": OTHER}},
        Status.FAILED,
        "benchmark's numbers belong to another file",
        ("latency_p50_ms", "latency_p90_ms", "peak_rss_bytes", "gzip_bytes"),
    ),
    Ending(
        "hash never recorded",
        {"benchmark_changes": {"artifact_sha256": None}},
        Status.FAILED,
        "another file (sha256 none",
        ("latency_p50_ms",),
    ),
]


@pytest.mark.parametrize("case", ENDINGS, ids=attrgetter("id"))
def test_a_row_says_how_its_cell_ended(case: Ending, layout: Layout) -> None:
    write_cell(layout, MODEL, SCHEME, **case.changes)
    row = cell_to_row(read_cell(layout, MODEL, SCHEME))
    assert row.status is case.status
    assert case.says in row.reason
    for name in case.absent:
        assert getattr(row, name) is None, f"{name} was measured on another file"


def test_numbers_of_another_file_turn_the_gate_red(layout: Layout) -> None:
    write_cell(layout, MODEL, SCHEME, validation_changes={"artifact_sha256": OTHER})
    metrics = cells_to_metrics(read_cells(layout, (MODEL,), ("float32", SCHEME)), GateParams())
    assert [row.verdict for row in metrics.rows] == [Verdict.PASS, Verdict.FAIL]


def test_a_failed_conversion_needs_no_proof(layout: Layout) -> None:
    write_cell(layout, MODEL, SCHEME, conversion_changes=FAILED)
    (layout.converted(MODEL, SCHEME) / "proof.json").unlink()
    assert read_cell(layout, MODEL, SCHEME).proof is None


def test_the_split_is_counted_whole_when_a_row_saw_a_part(layout: Layout) -> None:
    part = Protocol(
        split="val",
        num_images=2,
        split_images=6,
        subset="too slow",
        image_ids_sha256="0",
        data_sha256="0",
        score_floor=0.05,
    )
    write_cell(layout, MODEL, SCHEME, validation_changes={"protocol": part})
    metrics = cells_to_metrics(read_cells(layout, (MODEL,), ("float32", SCHEME)), GateParams())
    assert metrics.num_images == 6


def test_a_row_that_params_ask_for_must_be_there(layout: Layout) -> None:
    metrics = cells_to_metrics(read_cells(layout, (MODEL,), (SCHEME,)), GateParams())
    with pytest.raises(MissingResultError, match="retinanet_mobiledet_edgetpu/float32"):
        check_complete(metrics, (MODEL,), ("float32", SCHEME))


@pytest.mark.parametrize(
    ("protocol", "known"),
    [({}, True), ({"split": "test"}, False), ({"subset": "too slow", "num_images": 2}, False)],
)
def test_what_export_costs_is_told_on_the_same_images(layout: Layout, protocol: dict[str, Any], known: bool) -> None:
    base = validation(MODEL, SCHEME).protocol
    assert base is not None
    write_cell(layout, MODEL, SCHEME, validation_changes={"protocol": replace(base, **protocol)})
    cells = read_cells(layout, (MODEL,), (SCHEME,))
    (row,) = cells_to_metrics(cells, GateParams(), {MODEL: train_result(MODEL)}).rows
    if not known:
        assert (row.box_ap_trained, row.box_trained_drop) == (None, None)
        return
    assert row.box_ap is not None
    assert (row.box_ap_trained, row.mask_ap_trained, row.mask_trained_drop) == (66.6, None, None)
    assert row.box_trained_drop == pytest.approx(66.6 - row.box_ap)
    (row,) = cells_to_metrics(cells, GateParams()).rows
    assert row.box_ap_trained is None
