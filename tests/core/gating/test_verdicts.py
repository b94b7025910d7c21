from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import pytest

from stages.core.gating.gate import bounds_of, failures, judge_rows
from stages.core.params.steps import FloorParams, GateParams
from stages.core.results.status import Status
from stages.core.results.table import Metrics, Verdict
from stages.core.results.validation import Interval
from tests.builders import row

MASKED = {"model": "maskrcnn_mobiledet", "mask_ap": 59.3, "mask_ap_float": 59.8, "mask_ap_drop": 0.5}


@dataclass(frozen=True)
class Case:
    """A row, the gate's settings, and what the verdict must say."""

    id: str
    changes: dict[str, Any]
    says: tuple[str, ...]
    gate: dict[str, Any] = field(default_factory=dict)


RED = [
    Case("box drop", {"box_ap_drop": 3.25}, ("box_ap_drop 3.25 is above 2 (gate.max_ap_drop.int8) by 1.25 points",)),
    Case(
        "mask drop",
        {**MASKED, "mask_ap_drop": 2.5},
        ("mask_ap_drop 2.50 is above 2 (gate.max_ap_drop.int8) by 0.50 points",),
    ),
    Case(
        "bound of params.yaml",
        {"box_ap_drop": 0.9},
        ("box_ap_drop 0.90 is above 0.5 (gate.max_ap_drop.int8) by 0.40 points",),
        {"max_ap_drop": {"int8": 0.5}},
    ),
    Case("by a hair", {"box_ap_drop": 2.001}, ("by 0.001 points",)),
    Case(
        "box floor",
        {"box_ap": 64.3},
        ("box_ap 64.30 is below 70 (gate.floors.retinanet_mobiledet_edgetpu.box_ap) by 5.70 points",),
        {"floors": {"retinanet_mobiledet_edgetpu": FloorParams(box_ap=70)}},
    ),
    Case(
        "mask floor",
        MASKED,
        ("mask_ap 59.30 is below 60 (gate.floors.maskrcnn_mobiledet.mask_ap) by 0.70 points",),
        {"floors": {"maskrcnn_mobiledet": FloorParams(mask_ap=60)}},
    ),
    Case(
        "what export costs",
        {"box_ap_trained": 69.4},
        ("box_export_drop 4.20 is above 0.5 (gate.max_export_drop) by 3.70 points",),
        {"max_export_drop": 0.5},
    ),
    Case(
        "what export costs, masks",
        {**MASKED, "box_ap_trained": 65.2, "mask_ap_trained": 65.6},
        ("mask_export_drop 5.80 is above 0.5",),
        {"max_export_drop": 0.5},
    ),
    Case("size", {}, ("size 3.80 is above 3 (gate.max_size_mb) by 0.80 MB",), {"max_size_mb": 3}),
    Case("memory", {}, ("peak_rss 62.00 is above 50 (gate.max_peak_rss_mb) by 12.00 MB",), {"max_peak_rss_mb": 50}),
    Case(
        "one class's drop",
        {"box_class_ap_drop": 6.5, "box_worst_class": "fig"},
        ("box_class_ap_drop of 'fig' 6.50 is above 5 (gate.max_class_ap_drop) by 1.50 points",),
        {"max_class_ap_drop": 5},
    ),
    Case(
        "one class's drop, masks",
        {**MASKED, "box_class_ap_drop": 1.0, "mask_class_ap_drop": 6.5, "mask_worst_class": "fig"},
        ("mask_class_ap_drop of 'fig' 6.50 is above 5 (gate.max_class_ap_drop) by 1.50 points",),
        {"max_class_ap_drop": 5},
    ),
    Case("no class's drop", {}, ("box_class_ap_drop is missing",), {"max_class_ap_drop": 5}),
    Case("no drop", {"box_ap_drop": None}, ("box_ap_drop is missing",)),
    Case("drop is NaN", {"box_ap_drop": float("nan")}, ("box_ap_drop is missing",)),
    Case("no latency", {"latency_p50_ms": None}, ("latency_p50_ms is missing",)),
    Case("no memory", {"peak_rss_bytes": None}, ("peak_rss_bytes is missing",)),
    Case("masks not judged", {**MASKED, "mask_ap": None}, ("mask_ap is missing",)),
    Case("failed", {"status": Status.FAILED, "reason": "it crashed"}, ("status failed: it crashed",)),
    Case(
        "dead float model",
        {"box_ap": 0.0, "box_ap_float": 0.0, "box_ap_drop": 0.0},
        ("box_ap_float is 0.00: the float model finds nothing", "box_ap is 0.00: the file finds nothing"),
    ),
    Case(
        "dead file, a drop that is allowed",
        {"box_ap": 0.02, "box_ap_drop": 65.18},
        ("box_ap is 0.02: the file finds nothing that counts (gate.allow_zero_ap)",),
        {"max_ap_drop": {"int8": 100}},
    ),
    Case(
        "dead masks",
        {**MASKED, "mask_ap": 0.0, "mask_ap_float": 0.0, "mask_ap_drop": 0.0},
        ("mask_ap_float is 0.00", "mask_ap is 0.00"),
    ),
    Case(
        "two things",
        {"box_ap_drop": 4.0},
        ("box_ap_drop 4.00 is above 2", "size 3.80 is above 1"),
        {"max_size_mb": 1},
    ),
]

GREEN = [
    Case("all in bounds", {}, ()),
    Case("drop at its bound", {"box_ap_drop": 2.0000000000000004}, ()),
    Case("one class's drop, no bound", {"box_class_ap_drop": 60.0, "box_worst_class": "fig"}, ()),
    Case("one class's drop, in bounds", {"box_class_ap_drop": 4.9}, (), {"max_class_ap_drop": 5}),
    Case("better than float", {"box_ap_drop": -1.5}, ()),
    Case("no agreement: nothing was detected", {"agreement_f1": None}, ()),
    Case("masks of a model without masks", {"mask_ap": None, "mask_ap_drop": None}, ()),
    Case("floor of another model", {}, (), {"floors": {"retinanet_mobiledet_cpu": FloorParams(box_ap=99)}}),
    Case(
        "dead, and allowed to be",
        {"box_ap": 0.0, "box_ap_float": 0.0, "box_ap_drop": 0.0},
        (),
        {"allow_zero_ap": True},
    ),
    Case("export cost, no bound", {"box_ap_trained": 69.4}, ()),
    Case("export cost within its bound", {"box_ap_trained": 65.6}, (), {"max_export_drop": 0.5}),
    Case("export cost not known", {}, (), {"max_export_drop": 0.5}),
    Case("just alive", {"box_ap": 0.06, "box_ap_float": 0.06, "box_ap_drop": 0.0}, ()),
]


@pytest.mark.parametrize("case", RED, ids=attrgetter("id"))
def test_a_broken_bound_is_named_with_its_excess(case: Case) -> None:
    (judged,) = judge_rows([row(**case.changes)], GateParams(**case.gate))
    reasons = judged.verdict_reasons
    assert (judged.verdict, judged.fails) == (Verdict.FAIL, True)
    assert len(reasons) == len(case.says)
    for reason, expected in zip(reasons, case.says, strict=True):
        assert expected in reason


@pytest.mark.parametrize("case", GREEN, ids=attrgetter("id"))
def test_what_keeps_its_bounds_passes(case: Case) -> None:
    (judged,) = judge_rows([row(**case.changes)], GateParams(**case.gate))
    assert (judged.verdict, judged.verdict_reasons, judged.fails) == (Verdict.PASS, case.says, False)


def near(name: str, value: float, low: float, high: float) -> dict[str, Any]:
    return {name: value, f"{name}_interval": Interval(low=low, high=high)}


INTERVALS = [
    # What was measured, the verdict, whether by_number fails, and what is said.
    (near("box_ap_drop", 1.0, 0.4, 1.9), Verdict.PASS, False, None),
    (
        near("box_ap_drop", 1.5, 0.9, 2.1),
        Verdict.UNSURE,
        False,
        "box_ap_drop 1.50 keeps 2 (gate.max_ap_drop.int8), within noise (95 % interval 0.90 to 2.10)",
    ),
    (
        near("box_ap_drop", 2.5, 1.9, 3.0),
        Verdict.UNSURE,
        True,
        "box_ap_drop 2.50 is above 2 (gate.max_ap_drop.int8) by 0.50 points, within noise (95 % interval 1.90 to 3.00)",
    ),
    (
        near("box_ap_drop", 3.0, 2.2, 3.9),
        Verdict.FAIL,
        True,
        "is above 2 (gate.max_ap_drop.int8) by 1.00 points, beyond noise (95 % interval 2.20 to 3.90)",
    ),
    (near("box_ap_drop", 0.0, 0.0, 0.0), Verdict.PASS, False, None),
    (near("box_ap", 64.3, 61.0, 67.5), Verdict.PASS, False, None),
    (near("box_ap", 61.3, 58.0, 64.5), Verdict.UNSURE, False, "box_ap 61.30 keeps 60"),
    (near("box_ap", 59.3, 56.0, 62.5), Verdict.UNSURE, True, "box_ap 59.30 is below 60"),
    (near("box_ap", 55.3, 52.0, 58.5), Verdict.FAIL, True, "by 4.70 points, beyond noise"),
    (
        {**near("box_class_ap_drop", 12.0, 4.0, 21.0), "box_worst_class": "fig"},
        Verdict.UNSURE,
        True,
        "box_class_ap_drop of 'fig' 12.00 is above 10 (gate.max_class_ap_drop) by 2.00 points, within noise",
    ),
]


@pytest.mark.parametrize(("changes", "verdict", "fails", "says"), INTERVALS)
def test_a_bound_within_the_interval_is_neither_kept_nor_broken(
    changes: dict[str, Any], verdict: Verdict, fails: bool, says: str | None
) -> None:
    bounds: dict[str, Any] = {
        "floors": {"retinanet_mobiledet_edgetpu": FloorParams(box_ap=60)},
        "max_class_ap_drop": 10,
    }
    green = {"box_class_ap_drop": 1.0, "box_worst_class": "fig"}
    by_setting = {}
    for unsure in ("by_number", "fail", "pass"):
        (judged,) = judge_rows([row(**(green | changes))], GateParams(**bounds, unsure=unsure))
        assert judged.verdict is verdict
        assert len(judged.verdict_reasons) == (says is not None)
        assert (says or "") in "".join(judged.verdict_reasons)
        by_setting[unsure] = bool(failures(Metrics(split="val", num_images=6, rows=(judged,))))
    doubt = verdict is Verdict.UNSURE
    assert by_setting == {"by_number": fails, "fail": fails or doubt, "pass": fails and not doubt}


def test_one_surely_broken_bound_outweighs_doubts() -> None:
    changes = near("box_ap_drop", 1.5, 0.9, 2.1)
    (judged,) = judge_rows([row(**changes)], GateParams(max_size_mb=1, unsure="pass"))
    assert (judged.verdict, judged.fails, len(judged.verdict_reasons)) == (Verdict.FAIL, True, 2)


@pytest.mark.parametrize("gate", [GateParams(), GateParams(max_size_mb=1, allow_zero_ap=True)])
def test_what_does_not_apply_neither_passes_nor_fails(gate: GateParams) -> None:
    absent = row(status=Status.NOT_APPLICABLE, reason="no such op", box_ap=None)
    (judged,) = judge_rows([absent], gate)
    assert (judged.verdict, judged.verdict_reasons) == (Verdict.NOT_APPLICABLE, ("not applicable: no such op",))
    assert failures(Metrics(split="val", num_images=6, rows=(judged,))) == ()


def test_a_scheme_that_params_do_not_name_keeps_the_tables_bound() -> None:
    gate = GateParams(floors={})
    assert bounds_of("retinanet_mobiledet_cpu", "float32", gate).max_ap_drop == 0.2
    assert bounds_of("retinanet_mobiledet_cpu", "int16x8", gate).max_ap_drop == 1.0


def test_failures_name_the_row() -> None:
    rows = judge_rows([row(), row(scheme="float16", box_ap_drop=0.5)], GateParams())
    lines = failures(Metrics(split="val", num_images=6, rows=rows))
    assert lines == (
        "retinanet_mobiledet_edgetpu/float16: box_ap_drop 0.50 is above 0.2 (gate.max_ap_drop.float16) by 0.30 points",
    )
