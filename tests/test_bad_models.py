"""Bad model files in `convert`, `validate` and `benchmark`: a failed row that names file, found and expected."""

import json
import shutil
from operator import attrgetter
from pathlib import Path

import pytest
import yaml

from stages import benchmark, convert, gate, report, validate
from stages.core.base.errors import ArtifactError
from stages.core.base.hashing import hash_file
from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import MODEL_FILES, Layout
from stages.core.results.benchmark import Benchmark
from stages.core.results.conversion import Conversion
from stages.core.results.kinds import Backend
from stages.core.results.preparation import CalibrationList
from stages.core.results.status import Status
from stages.core.results.validation import Validation
from tests.bad_models import BAD_MODELS, POINTER, BadModel, reverse_outputs
from tests.builders import history, train_result
from tests.core.running.test_openvino_runner import build_ir
from tests.tflite_builder import build_detector, build_segmenter
from tests.tiny_project import write_conversion, write_tiny_project

MODEL, SCHEME = "retinanet_mobiledet_tiny", "float32"
WITHOUT_RAW = "maskrcnn_tiny"
"""A model whose files are opened as they are: with raw outputs, the op behind them would be looked for first."""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Prepared pictures and float models, and one good row that must survive."""
    layout = write_tiny_project(tmp_path, num_images=2, params={"report": {"num_pictures": 0}})
    write_json(CalibrationList(seed=0, split="train", images=()), layout.calibration)
    write_conversion(layout, "maskrcnn_tiny", SCHEME, b"another row")
    return layout


def cell(layout: Layout, scheme: str = SCHEME, model: str = MODEL) -> list[str]:
    return ["--root", str(layout.root), "--model", model, "--scheme", scheme]


def check_failed(result: Conversion | Validation | Benchmark, words: tuple[str, ...]) -> None:
    assert result.status is Status.FAILED
    assert "\n" not in result.reason
    for word in ("model.tflite", *words):
        assert word in result.reason


@pytest.mark.parametrize("bad", BAD_MODELS, ids=attrgetter("id"))
def test_convert_names_what_is_wrong_with_its_source(bad: BadModel, layout: Layout) -> None:
    source = layout.exported(MODEL, "trained") / "model.tflite"
    source.write_bytes(bad.spoil(source.read_bytes()))

    assert convert.main(cell(layout)) == 0

    conversion = read_json(Conversion, layout.converted(MODEL, SCHEME) / "result.json")
    check_failed(conversion, bad.convert)
    assert str(layout.root) not in conversion.reason
    assert read_json(Conversion, layout.converted("maskrcnn_tiny", SCHEME) / "result.json").status is Status.OK


def test_convert_hands_outputs_in_another_order_on(layout: Layout) -> None:
    """Not a fault: outputs are read by name. This file fails only because it has no layer to prove."""
    source = layout.exported(MODEL, "trained") / "model.tflite"
    source.write_bytes(reverse_outputs(source.read_bytes()))
    assert convert.main(cell(layout)) == 0
    conversion = read_json(Conversion, layout.converted(MODEL, SCHEME) / "result.json")
    assert conversion.reason == "the file contradicts its scheme: no convolution or fully-connected layer"


@pytest.mark.parametrize("bad", BAD_MODELS, ids=attrgetter("id"))
def test_validate_names_what_is_wrong_with_the_file(bad: BadModel, layout: Layout) -> None:
    write_conversion(layout, WITHOUT_RAW, SCHEME, bad.spoil(build_segmenter()))
    assert validate.main(cell(layout, SCHEME, WITHOUT_RAW)) == 0
    check_failed(read_json(Validation, layout.validated(WITHOUT_RAW, SCHEME)), bad.run)


@pytest.mark.parametrize("name", ["classifier", "unknown_custom_op", "lfs_pointer"])
def test_benchmark_names_what_is_wrong_with_the_file(name: str, layout: Layout) -> None:
    bad = next(bad for bad in BAD_MODELS if bad.id == name)
    write_conversion(layout, WITHOUT_RAW, SCHEME, bad.spoil(build_segmenter()))
    assert benchmark.main(cell(layout, SCHEME, WITHOUT_RAW)) == 0
    check_failed(read_json(Benchmark, layout.benchmarked(WITHOUT_RAW, SCHEME)), bad.run)


def test_outputs_in_another_order_are_read_by_name(layout: Layout) -> None:
    write_conversion(layout, MODEL, SCHEME, reverse_outputs(build_detector()))
    assert validate.main(cell(layout)) == 0
    result = read_json(Validation, layout.validated(MODEL, SCHEME))
    assert (result.status, result.box_ap_drop) == (Status.OK, 0)
    assert result.accuracy is not None
    assert result.accuracy.box.ap == pytest.approx(100)


def write_ir_cell(layout: Layout) -> Path:
    """A converted OpenVINO row that runs."""
    scheme = "openvino_float32"
    folder = layout.converted(MODEL, scheme)
    artifact = build_ir(folder)
    name, *companions = MODEL_FILES[Backend.OPENVINO]
    conversion = Conversion(
        model=MODEL,
        scheme=scheme,
        backend="openvino",
        source="trained",
        status=Status.OK,
        artifact=name,
        companions=tuple(companions),
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        versions={},
    )
    write_json(conversion, folder / "result.json")
    return folder


IR_DAMAGE = {
    "missing": (Path.unlink, ("no such file",)),
    "empty": (lambda path: path.write_bytes(b""), ("empty file", "expected")),
    "lfs_pointer": (lambda path: path.write_bytes(POINTER), ("Git LFS pointer", "expected")),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-10]), ("truncated", "expected")),
}


@pytest.mark.parametrize("damage", IR_DAMAGE)
def test_an_ir_with_damaged_weights_is_a_failed_row(damage: str, layout: Layout) -> None:
    folder, (spoil, words) = write_ir_cell(layout), IR_DAMAGE[damage]
    spoil(folder / "model.bin")

    assert validate.main(cell(layout, "openvino_float32")) == 0
    assert benchmark.main(cell(layout, "openvino_float32")) == 0

    results = (
        read_json(Validation, layout.validated(MODEL, "openvino_float32")),
        read_json(Benchmark, layout.benchmarked(MODEL, "openvino_float32")),
    )
    for result in results:
        assert result.status is Status.FAILED
        for word in (str(folder / "model.bin"), *words):
            assert word in result.reason


def test_a_whole_ir_is_judged_and_timed(layout: Layout) -> None:
    write_ir_cell(layout)
    assert validate.main(cell(layout, "openvino_float32")) == 0
    assert benchmark.main(cell(layout, "openvino_float32")) == 0
    judged = read_json(Validation, layout.validated(MODEL, "openvino_float32"))
    timed = read_json(Benchmark, layout.benchmarked(MODEL, "openvino_float32"))
    assert (judged.status, timed.status) == (Status.OK, Status.OK)
    assert "openvino" in judged.versions
    assert judged.agreement is not None
    assert judged.agreement.f1 == 1.0
    assert judged.agreement.largest_score_shift == pytest.approx(0, abs=1e-6)
    assert judged.box_ap_drop == pytest.approx(0)
    assert timed.runtime.startswith("openvino ")
    assert timed.size_bytes == sum(
        path.stat().st_size for path in layout.converted(MODEL, "openvino_float32").glob("model.*")
    )


@pytest.mark.parametrize("verb", [validate, benchmark], ids=["validate", "benchmark"])
def test_another_file_than_recorded_is_refused(verb, layout: Layout) -> None:  # type: ignore[no-untyped-def]
    conversion = write_conversion(layout, MODEL, SCHEME, build_detector())
    path = layout.converted(MODEL, SCHEME) / "model.tflite"
    path.write_bytes(build_detector(gain=0.5))
    with pytest.raises(ArtifactError) as caught:
        verb.main(cell(layout))
    for word in (str(path), hash_file(path), f"expected {conversion.sha256}"):
        assert word in str(caught.value)


def test_a_row_that_does_not_apply_goes_all_the_way_to_a_green_gate(layout: Layout) -> None:
    """Mask R-CNN cannot end in the post-processing op."""
    model, scheme = "maskrcnn_tiny", "float32_postprocess_op"
    layout.params.write_text(yaml.safe_dump({"models": [model], "schemes": [scheme]}))
    shutil.rmtree(layout.converted(model, SCHEME))
    assert convert.main(cell(layout, scheme, model)) == 0
    assert validate.main(cell(layout, scheme, model)) == 0
    assert benchmark.main(cell(layout, scheme, model)) == 0
    write_json(train_result(model), layout.variant(model, "trained") / "result.json")
    write_json(history(masks=True), layout.variant(model, "trained") / "history.json")
    assert report.main(["--root", str(layout.root)]) == 0
    assert gate.main(["--root", str(layout.root)]) == 0
    (row,) = json.loads(layout.metrics.read_text())["rows"]
    assert (row["scheme"], row["status"], row["verdict"]) == (scheme, "not_applicable", "not applicable")
    assert "ends one-stage detectors only" in row["verdict_reasons"][0]
    assert (row["artifact"], row["box_ap"], row["latency_p50_ms"]) == (None, None, None)
