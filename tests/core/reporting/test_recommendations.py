from typing import Any

import pytest

from stages.core.reporting.recommendations import TARGETS, recommend, recommendations_to_markdown, unserved
from stages.core.results.status import Status
from stages.core.results.table import Metrics, Verdict
from stages.core.results.validation import Interval
from stages.core.tables.schemes import SCHEMES
from tests import builders

FLOAT = {"scheme": "float32", "box_ap_drop": 0.0, "latency_p50_ms": 20.0, "size_bytes": 12_000_000}
HALF = {"scheme": "float16", "box_ap_drop": 0.0, "latency_p50_ms": 20.5, "size_bytes": 6_000_000}
INT8 = {"scheme": "int8", "box_ap_drop": 0.5, "latency_p50_ms": 8.0, "size_bytes": 4_000_000}
QAT = {"scheme": "qat_int8", "box_ap_drop": 0.1, "latency_p50_ms": 8.2, "size_bytes": 3_900_000}
IR = {"scheme": "openvino_int8", "backend": "openvino", "box_ap_drop": 0.6, "latency_p50_ms": 6.0}

CASES: dict[str, tuple[list[dict[str, Any]], str, str | None]] = {
    "the fastest of equals": ([FLOAT, INT8], "CPU, LiteRT", "int8"),
    "a loss beyond the margin counts": ([FLOAT, {**INT8, "box_ap_drop": 1.2}], "CPU, LiteRT", "float32"),
    "a gain by chance makes no other worse": ([FLOAT | {"box_ap_drop": -3.0}, INT8], "CPU, LiteRT", "int8"),
    "masks count where there are some": (
        [FLOAT | {"mask_ap_drop": 0.0}, INT8 | {"mask_ap_drop": 3.0}], "CPU, LiteRT", "float32",
    ),
    "the smaller of two that are as fast": ([FLOAT, HALF], "CPU, LiteRT", "float16"),
    "what fails is not taken": ([FLOAT, INT8 | {"verdict": Verdict.FAIL}], "CPU, LiteRT", "float32"),
    "the least loss where time was not measured": ([FLOAT, INT8, QAT], "int8 accelerator", "qat_int8"),
    "float16 for a GPU": ([FLOAT, HALF, INT8], "GPU, float16", "float16"),
    "OpenVINO has its own": ([FLOAT, INT8, IR], "OpenVINO", "openvino_int8"),
    "none where all fail": ([INT8 | {"verdict": Verdict.FAIL}], "int8 accelerator", None),
    "none where there is no file": (
        [INT8 | {"status": Status.FAILED, "reason": "it crashed", "box_ap_drop": None}], "int8 accelerator", None,
    ),
    "a row without a latency": ([FLOAT, INT8 | {"latency_p50_ms": None}], "CPU, LiteRT", "float32"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_which_file(name: str) -> None:
    rows, target, scheme = CASES[name]
    found = recommend(Metrics(split="val", num_images=6, rows=tuple(builders.row(**row) for row in rows)))
    (item,) = [item for item in found if item.target.title == target]
    assert (item.row.scheme if item.row else None) == scheme
    assert item.reason
    line = f"| {item.model} | {target} | {f'`{scheme}`' if scheme else 'none'} | {item.reason} |"
    assert line in recommendations_to_markdown(found)


def test_a_target_that_no_row_is_for_is_left_out() -> None:
    found = recommend(Metrics(split="val", num_images=6, rows=(builders.row(**FLOAT),)))
    assert [item.target.title for item in found] == ["CPU, LiteRT"]
    assert recommendations_to_markdown(()) == ""


def test_targets_that_no_row_is_for_are_named() -> None:
    def named(*schemes: str) -> str:
        return unserved(Metrics(split="val", num_images=6, rows=tuple(builders.row(scheme=name) for name in schemes)))

    assert "mobile libraries; int8 accelerator; GPU, float16; OpenVINO" in named("float32")
    assert "OpenVINO" not in named("float32", "openvino_int8")
    assert named(*SCHEMES) == ""


def test_the_reason_says_how_far_the_drop_is_known() -> None:
    rows = (builders.row(**INT8, box_ap_drop_interval=Interval(low=-0.4, high=2.02)),)
    (item, *_) = recommend(Metrics(split="val", num_images=6, rows=rows))
    assert "drop 0.50 (95 %: −0.40 to 2.02), 8.0 ms, 4.00 MB; the only one that passes" in item.reason


def test_every_scheme_is_for_some_target() -> None:
    assert [name for name, scheme in SCHEMES.items() if not any(target.takes(scheme) for target in TARGETS)] == []
