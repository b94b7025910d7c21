"""`benchmark` on hand-made files that really run."""

import re
from pathlib import Path

import pytest
import yaml

from stages import benchmark
from stages.core.base.errors import ArtifactError, DataError
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import Layout
from stages.core.results.benchmark import Benchmark
from stages.core.results.status import Status
from tests.builders import write_split
from tests.tflite_builder import build_crasher, build_detector, build_refused
from tests.tiny_project import MODELS, write_conversion, write_tiny_project


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return write_tiny_project(tmp_path, num_images=2)


def run_cell(layout: Layout, model: str) -> Benchmark:
    assert benchmark.main(["--root", str(layout.root), "--model", model, "--scheme", "int8"]) == 0
    return read_json(Benchmark, layout.benchmarked(model, "int8"))


@pytest.mark.parametrize("model", MODELS)
def test_everything_is_measured(model: str, layout: Layout) -> None:
    content = MODELS[model]()
    conversion = write_conversion(layout, model, "int8", content)

    result = run_cell(layout, model)

    assert (result.status, result.artifact_sha256) == (Status.OK, conversion.sha256)
    assert result.latency is not None
    assert (result.latency.runs, result.latency.warmup) == (50, 5)
    assert 0 < result.latency.p50_ms <= result.latency.p90_ms <= result.latency.p99_ms < 1000
    assert result.num_images == 2
    assert result.mean_detections is not None
    assert 0 < result.mean_detections <= 100
    assert result.init_ms is not None
    assert result.init_ms > 0
    assert result.peak_rss_bytes is not None
    assert result.baseline_rss_bytes is not None
    assert 10e6 < result.baseline_rss_bytes <= result.peak_rss_bytes
    assert result.size_bytes == len(content)
    assert result.gzip_bytes is not None
    assert 0 < result.gzip_bytes < len(content)
    assert result.runtime.startswith("ai-edge-litert 2")
    assert (result.delegate, result.num_threads) == ("XNNPACK", 2)
    assert ("TFLite_Detection_PostProcess" in result.slow_ops) == (model == "retinanet_mobiledet_tiny")
    assert "AVERAGE_POOL_2D" not in result.slow_ops
    assert result.machine.num_cpus >= 1


def test_a_split_without_images_is_said(layout: Layout) -> None:
    write_split(layout.split("test"), num_images=0)
    params = yaml.safe_load(layout.params.read_text()) | {"validate": {"split": "test"}}
    layout.params.write_text(yaml.safe_dump(params))
    write_conversion(layout, "retinanet_mobiledet_tiny", "int8", build_detector())

    with pytest.raises(DataError, match="no images to evaluate the model on"):
        run_cell(layout, "retinanet_mobiledet_tiny")


def test_peak_memory_is_not_the_parents(layout: Layout) -> None:
    write_conversion(layout, "retinanet_mobiledet_tiny", "int8", build_detector())
    ballast = bytearray(b"x") * 400_000_000

    result = run_cell(layout, "retinanet_mobiledet_tiny")

    assert result.peak_rss_bytes is not None
    assert result.peak_rss_bytes < len(ballast)


@pytest.mark.parametrize("status", [Status.FAILED, Status.NOT_APPLICABLE])
def test_a_cell_without_a_file_keeps_its_row(status: Status, layout: Layout) -> None:
    write_conversion(layout, "retinanet_mobiledet_tiny", "int8", None, status=status, reason="why")

    result = run_cell(layout, "retinanet_mobiledet_tiny")

    assert (result.status, result.reason, result.latency) == (status, "why", None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(build_crasher(), "crashed (SIGSEGV) while measuring"), (build_refused(), "stride_height > 0")],
    ids=["crash", "refusal"],
)
def test_a_file_that_its_runtime_cannot_run_is_a_failed_row(content: bytes, reason: str, layout: Layout) -> None:
    write_conversion(layout, "retinanet_mobiledet_tiny", "int8", content)

    result = run_cell(layout, "retinanet_mobiledet_tiny")

    assert result.status is Status.FAILED
    assert reason in result.reason


def test_a_file_that_is_not_its_interface_is_a_failed_row(layout: Layout) -> None:
    write_conversion(layout, "retinanet_mobiledet_tiny", "int8", build_detector())
    path = layout.converted("retinanet_mobiledet_tiny", "int8") / "interface.json"
    path.write_text(path.read_text().replace("num_detections", "count"))

    result = run_cell(layout, "retinanet_mobiledet_tiny")

    assert result.status is Status.FAILED
    assert re.search(r"model.tflite: outputs .*'num_detections'.*expected .*'count'", result.reason)


def test_another_file_than_the_converted_one_is_the_users_to_fix(layout: Layout) -> None:
    write_conversion(layout, "retinanet_mobiledet_tiny", "int8", build_detector())
    (layout.converted("retinanet_mobiledet_tiny", "int8") / "model.tflite").write_bytes(build_detector(gain=0.5))

    with pytest.raises(ArtifactError, match=r"model\.tflite: not the file that was converted: sha256 .*, expected"):
        run_cell(layout, "retinanet_mobiledet_tiny")
