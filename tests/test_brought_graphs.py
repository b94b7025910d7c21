"""Somebody's frozen graph as a row: every stage from train to benchmark, and what does not apply says why."""

import json
import os
import shutil
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stages.core.base.errors import UserError
from stages.core.base.layout import Layout
from stages.core.datasets.prepared import load_image, read_split
from stages.core.graphs.flatbuffer import read_graph
from stages.core.processing.preprocess import preprocess_image
from stages.core.processing.stored_outputs import load_outputs
from stages.core.results.interface import read_interface
from tests.brought_project import call, make_row, write_brought_project
from tests.frozen_builder import (
    ENTRY,
    HEADS,
    SIZE,
    freeze_meta_graph,
    run_frozen,
    section,
    write_frozen_detector,
)

pytestmark = pytest.mark.slow

SAMPLES = Path(os.environ.get("DETECTION_SAMPLES", "nowhere")) / "tfod"
needs_samples = pytest.mark.skipif("DETECTION_SAMPLES" not in os.environ, reason="DETECTION_SAMPLES is not set")
PUBLISHED_OPS = {
    "CONV_2D": 66,
    "DEPTHWISE_CONV_2D": 27,
    "ADD": 15,
    "RESHAPE": 13,
    "CONCATENATION": 2,
    "LOGISTIC": 1,
    "TFLite_Detection_PostProcess": 1,
}
"""Of published uint8 files of SSDLite MobileDet EdgeTPU (mlcommons/mobile_open), and their post-processing op."""
META_ENTRY = "Preprocessor/map/TensorArrayStack/TensorArrayGatherV3"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Exported: a float graph and the same with fake-quant nodes."""
    root = tmp_path_factory.mktemp("brought")
    brought = {name: section(f"models/brought/{name}.pb") for name in ("plain", "rounded")}
    layout = write_brought_project(root, brought)
    for name in brought:
        write_frozen_detector(root / "models" / "brought" / f"{name}.pb", fake_quant=name == "rounded")
        for variant in ("trained", "qat"):
            call(layout, "export", name, variant=variant)
        call(layout, "reference", name)
    return layout


def images_of(layout: Layout, model: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Ids and input tensors of the validation images, as the model's contract states them."""
    split, spec = read_split(layout.split("val")), read_interface(layout.exported(model, "trained")).input
    return (
        np.asarray([image.image_id for image in split.images]),
        [preprocess_image(load_image(image.path), spec)[0] for image in split.images],
    )


@pytest.mark.parametrize("name", ["plain", "rounded"])
def test_reference_heads_are_the_graphs_own(project: Layout, name: str) -> None:
    reference = load_outputs(project.reference(name))
    ids, tensors = images_of(project, name)
    path = project.root / "models" / "brought" / f"{name}.pb"
    for row, image_id in enumerate(reference.raw_image_ids):
        pixels = tensors[list(ids).index(image_id)].astype(np.uint8)
        boxes, scores = run_frozen(path, [HEADS["boxes"], HEADS["scores"]], {"image_tensor": pixels})
        np.testing.assert_allclose(reference.raw_outputs["raw_boxes"][row], boxes[0], atol=1e-5)
        np.testing.assert_allclose(reference.raw_outputs["raw_scores"][row], scores[0], atol=1e-5)


@pytest.mark.parametrize("scheme", ["float32", "float32_postprocess_op", "int8", "openvino_float32"])
def test_a_float_graph_is_converted_like_our_own(project: Layout, scheme: str) -> None:
    conversion, validation = make_row(project, "plain", scheme)
    assert (conversion["status"], conversion["reason"]) == ("ok", "")
    agreement = validation["agreement"]
    assert agreement["num_reference"] > 10
    assert agreement["f1"] > (0.99 if scheme in ("float32", "openvino_float32") else 0.6)
    assert all(row["sqnr_db"] is None or row["sqnr_db"] > 80 for row in validation["parity"])


@pytest.mark.parametrize("scheme", ["qat_int8_uint8_input", "qat_uint8_postprocess_op"])
def test_a_graph_with_fake_quant_nodes_needs_no_images(project: Layout, scheme: str) -> None:
    conversion, validation = make_row(project, "rounded", scheme)
    assert (conversion["status"], conversion["reason"]) == ("ok", "")
    assert conversion["calibration_images"] == 0
    assert not conversion["notes"]
    proof = json.loads((project.converted("rounded", scheme) / "proof.json").read_text())
    assert proof["int8_macs_fraction"] == 1.0
    for row in validation["parity"]:
        assert row["sqnr_db"] > 20, row
    assert validation["agreement"]["f1"] > 0.6


@pytest.mark.parametrize(
    ("name", "scheme", "reason"),
    [
        ("plain", "qat_int8", "the graph has no fake-quant nodes"),
        ("plain", "qat_uint8_postprocess_op", "the graph has no fake-quant nodes"),
        ("rounded", "float32", "only simulate its rounding"),
        ("rounded", "dynamic_range", "`optimizations` would round weights a second time"),
        ("rounded", "int8", "post-training quantization would measure ranges"),
        ("rounded", "openvino_int8", "use qat_int8"),
    ],
)
def test_what_does_not_apply_says_why(project: Layout, name: str, scheme: str, reason: str) -> None:
    conversion, validation = make_row(project, name, scheme)
    assert conversion["status"] == validation["status"] == "not_applicable"
    assert reason in conversion["reason"]


def test_no_stage_trains_it(project: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    for stage, options in (("train", {}), ("prune", {}), ("qat", {}), ("qat", {"variant": "pruned_qat"})):
        call(project, stage, "plain", **options)
    assert capsys.readouterr().out.count("brought as it is (frozen_graph): nothing is trained") == 4
    result = json.loads((project.variant("plain", "trained") / "result.json").read_text())
    assert result["status"] == "not_applicable"
    call(project, "export", "plain", variant="pruned")
    assert "nothing is pruned" in (project.exported("plain", "pruned") / "result.json").read_text()


def test_classes_are_found_by_name(tmp_path: Path) -> None:
    labels = ["wheel", "Triangle", "circle"]
    layout = write_brought_project(tmp_path, {"it": section("models/brought/it.pb", labels=labels)})
    write_frozen_detector(tmp_path / "models" / "brought" / "it.pb")
    call(layout, "export", "it")
    interface = read_interface(layout.exported("it", "trained"))
    assert interface.class_map == (0, 3, 1)
    assert interface.labels == {"1": "circle", "2": "square", "3": "triangle"}


def test_stored_anchors_may_be_centers(project: Layout, tmp_path: Path) -> None:
    changes = {"outputs": HEADS | {"anchors": "anchors"}, "anchor_format": "centers"}
    layout = write_brought_project(tmp_path, {"it": section("models/brought/it.pb", **changes)})
    write_frozen_detector(tmp_path / "models" / "brought" / "it.pb")
    for stage in ("export", "reference"):
        call(layout, stage, "it")
    ours, same = (load_outputs(made.reference(name)) for made, name in ((layout, "it"), (project, "plain")))
    for name, values in same.outputs.items():
        np.testing.assert_allclose(ours.outputs[name], values, atol=1e-5)


@pytest.fixture(scope="module")
def finished(project: Layout, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Files that the pipeline made, brought as somebody else's."""
    root = tmp_path_factory.mktemp("finished")
    spec = {"name": "image", "size": [SIZE, SIZE], "mean": 0, "deviation": 1}
    names = ("boxes", "scores", "classes")
    outputs = {name: f"detection_{name}" for name in names} | {"num_detections": "num_detections"}
    sources = {
        "as_float": ("plain", "float32", "model.tflite"),
        "as_uint8": ("rounded", "qat_uint8_postprocess_op", "model.tflite"),
        "as_ir": ("plain", "openvino_float32", "model.xml"),
    }
    brought = {}
    for name, (model, scheme, file) in sources.items():
        call(project, "convert", model, scheme=scheme)
        folder = project.converted(model, scheme)
        (root / "models" / "brought").mkdir(parents=True, exist_ok=True)
        for path in (folder / file, (folder / file).with_suffix(".bin")):
            if path.is_file():
                shutil.copy(path, root / "models" / "brought" / f"{name}{path.suffix}")
        kind = "openvino" if file.endswith("xml") else "tflite"
        path = f"models/brought/{name}{Path(file).suffix}"
        entry = {"kind": kind, "path": path, "layout": "detections", "input": spec, "outputs": outputs}
        brought[name] = entry | {"labels": ["circle", "square", "triangle"]}
    brought["as_uint8"]["input"] = {**spec, "mean": 127.5, "deviation": 127.5}
    layout = write_brought_project(root, brought)
    for name in brought:
        for variant in ("trained", "qat"):
            call(layout, "export", name, variant=variant)
        call(layout, "reference", name)
    return layout


@pytest.mark.parametrize(
    ("name", "scheme", "agrees"),
    [
        ("as_float", "float32", True),
        ("as_float", "int8", False),
        ("as_uint8", "qat_uint8_postprocess_op", True),
        ("as_ir", "openvino_float32", True),
        ("as_ir", "openvino_int8", False),
    ],
)
def test_a_finished_file_is_judged_like_our_own(finished: Layout, name: str, scheme: str, agrees: bool) -> None:
    conversion, validation = make_row(finished, name, scheme)
    assert (conversion["status"], conversion["reason"]) == ("ok", "")
    assert any("its own reference" in note for note in conversion["notes"])
    agreement = validation["agreement"]
    assert agreement["num_reference"] > 5
    assert (agreement["f1"] == 1.0) if agrees else (agreement["f1"] > 0.6)


@pytest.mark.parametrize(
    ("name", "scheme", "reason"),
    [
        ("as_float", "openvino_float32", "a finished tflite file was brought"),
        ("as_float", "int8_postprocess_op", "ends without TFLite_Detection_PostProcess"),
        ("as_float", "qat_int8", "the file is finished"),
        ("as_uint8", "int8_postprocess_op", "uint8 weights, uint8 activations"),
        ("as_uint8", "float32", "ends in TFLite_Detection_PostProcess"),
        ("as_ir", "openvino_float16", ""),
        ("as_ir", "int8", "a finished openvino file was brought"),
    ],
)
def test_what_a_finished_file_is_not(finished: Layout, name: str, scheme: str, reason: str) -> None:
    call(finished, "convert", name, scheme=scheme)
    conversion = json.loads((finished.converted(name, scheme) / "result.json").read_text())
    assert conversion["status"] == ("not_applicable" if reason else "ok")
    assert reason in conversion["reason"]


def test_the_numbers_are_those_of_the_pipeline_that_made_it(project: Layout, finished: Layout) -> None:
    _, own = make_row(project, "plain", "float32")
    _, brought = make_row(finished, "as_float", "float32")
    assert brought["accuracy"]["box"]["ap"] == own["accuracy"]["box"]["ap"]


def test_report_and_gate_take_it(finished: Layout) -> None:
    tree = yaml.safe_load(finished.params.read_text())
    tree |= {"models": ["as_float"], "schemes": ["float32", "qat_int8"], "benchmark": {"runs": 50, "max_seconds": 2}}
    tree["gate"] = {"allow_zero_ap": True}  # random weights find nothing
    finished.params.write_text(yaml.safe_dump(tree))
    for variant, stage in (("trained", "train"), ("pruned", "prune"), ("qat", "qat"), ("pruned_qat", "qat")):
        call(finished, stage, "as_float", **({"variant": variant} if stage == "qat" else {}))
    for scheme in tree["schemes"]:
        make_row(finished, "as_float", scheme)
        call(finished, "benchmark", "as_float", scheme=scheme)
    for stage in ("report", "gate"):
        assert import_module(f"stages.{stage}").main(["--root", str(finished.root)]) == 0
    rows = json.loads(finished.metrics.read_text())["rows"]
    assert [(row["status"], row["verdict"]) for row in rows] == [("ok", "pass"), ("not_applicable", "not applicable")]
    assert "its own reference" in (finished.report / "index.html").read_text()


BAD: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("tensor", {"outputs": HEADS | {"boxes": "Squeze"}}, ("outputs.boxes", "'Squeze'", "nearest: Squeeze")),
    ("entry", {"input": {"name": "Preproc/sub"}}, ("input.name", "nearest: Preprocessor/sub")),
    ("size", {"input": {"size": [96, 96]}}, ("expected one anchor per box", "input.size")),
    ("too_late", {"input": {"name": "Squeeze"}}, ("Squeeze", "input.name")),
    ("beside", {"input": {"name": "concat_1"}}, ("also depend on image_tensor", "'concat_1'")),
    ("logits", {"outputs": HEADS | {"scores": "concat_1"}}, ("scores reach from", "Postprocessor/convert_scores")),
    ("no_detector", {"outputs": HEADS | {"boxes": "Conv/Conv2D"}}, ("no detector's raw heads", "[1, A, 4]")),
    ("no_anchors", {"outputs": HEADS | {"anchors": "Conv/Conv2D"}}, ("outputs.anchors", "expected [A, 4]")),
    ("labels", {"labels": [f"c{i}" for i in range(9)]}, ("labels go up to id 9", "expected ids 1 to 3")),
    ("no_class", {"labels": ["cat", "dog"]}, ("none of its classes (cat, dog)", "circle, square, triangle")),
]


@pytest.mark.parametrize(("case", "changes", "says"), BAD, ids=[row[0] for row in BAD])
def test_a_wrong_entry_is_one_clear_line(
    project: Layout, tmp_path: Path, case: str, changes: dict[str, Any], says: tuple[str, ...]
) -> None:
    base = section("models/brought/plain.pb")
    changes = {k: base[k] | v if k == "input" else v for k, v in changes.items()}
    layout = write_brought_project(tmp_path, {case: base | changes})
    (tmp_path / "models" / "brought").mkdir(parents=True)
    (tmp_path / "models" / "brought" / "plain.pb").write_bytes(
        (project.root / "models" / "brought" / "plain.pb").read_bytes()
    )
    refuse(layout, case, says)


FILES: list[tuple[str, bytes | None, tuple[str, ...]]] = [
    ("missing", None, ("it.pb: no such file", "dvc pull")),
    ("empty", b"", ("an empty file", "expected")),
    ("pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", ("Git LFS pointer",)),
    ("tflite", b"\x1c\0\0\0TFL3" + bytes(40), ("a .tflite flatbuffer", "expected a frozen graph")),
    ("h5", b"\x89HDF\r\n\x1a\n" + bytes(40), ("HDF5", "expected a frozen graph")),
    ("text", b"model { ssd { } }", ("no model format that is known here",)),
]


@pytest.mark.parametrize(("case", "content", "says"), FILES, ids=[row[0] for row in FILES])
def test_a_wrong_file_is_one_clear_line(
    tmp_path: Path, case: str, content: bytes | None, says: tuple[str, ...]
) -> None:
    layout = write_brought_project(tmp_path, {case: section("models/brought/it.pb")})
    if content is not None:
        (tmp_path / "models" / "brought").mkdir(parents=True)
        (tmp_path / "models" / "brought" / "it.pb").write_bytes(content)
    refuse(layout, case, says)


def test_a_truncated_file_is_one_clear_line(project: Layout, tmp_path: Path) -> None:
    layout = write_brought_project(tmp_path, {"it": section("models/brought/it.pb")})
    (tmp_path / "models" / "brought").mkdir(parents=True)
    content = (project.root / "models" / "brought" / "plain.pb").read_bytes()
    (tmp_path / "models" / "brought" / "it.pb").write_bytes(content[: len(content) // 2])
    refuse(layout, "it", ("truncated or damaged GraphDef",))


def refuse(layout: Layout, model: str, says: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        call(layout, "export", model)
    message = str(caught.value)
    assert all(words in message for words in says), message
    assert "\n" not in message
    assert not layout.exported(model, "trained").exists()


@needs_samples
def test_a_real_frozen_graph_finds_what_it_finds_by_itself(tmp_path: Path) -> None:
    """SSDLite MobileNetV2 300x300 of the Object Detection API: the exported graph against the whole frozen one."""
    source = SAMPLES / "frozen" / "ssdlite_mobilenetv2_pedestrian_frozen_inference_graph.pb"
    entry = section(
        "models/brought/person.pb",
        input={"name": ENTRY, "size": [300, 300], "mean": 127.5, "deviation": 127.5},
        labels=["circle"],
    )
    layout = write_brought_project(tmp_path, {"person": entry})
    (tmp_path / "models" / "brought").mkdir(parents=True)
    path = tmp_path / "models" / "brought" / "person.pb"
    path.write_bytes(source.read_bytes())
    # The graph's own suppression, as its nodes state it.
    text = layout.params.read_text().replace("nms_iou_threshold: 0.5", "nms_iou_threshold: 0.6")
    layout.params.write_text(text.replace("score_threshold: 0.3", "score_threshold: 0.001"))
    for stage in ("export", "reference"):
        call(layout, stage, "person")
    found = load_outputs(layout.reference("person")).outputs
    _, tensors = images_of(layout, "person")
    compared = 0
    for row, tensor in enumerate(tensors):
        boxes, scores = run_frozen(path, ["detection_boxes", "detection_scores"], {"image_tensor": tensor.astype("u1")})
        num = min(int(found["num_detections"][row].item()), 10)
        np.testing.assert_allclose(found["detection_scores"][row][:num], scores[0][:num], atol=1e-3)
        ours = np.clip(found["detection_boxes"][row][:num], 0, 1)
        np.testing.assert_allclose(ours * 300, boxes[0][:num] * 300, atol=0.5)
        compared += num
    assert compared >= 20
    conversion, validation = make_row(layout, "person", "int8")
    assert (conversion["status"], conversion["reason"]) == ("ok", "")
    assert validation["agreement"]["f1"] > 0.8


@needs_samples
@pytest.mark.parametrize(
    ("kind", "scheme"), [("fp32", "float32_postprocess_op"), ("uint8_qat", "qat_uint8_postprocess_op")]
)
def test_published_mobiledet_graphs(tmp_path: Path, kind: str, scheme: str) -> None:
    """SSDLite MobileDet EdgeTPU as published, with the initial values of its variables."""
    entry = section(
        "models/brought/it.pb",
        input={"name": META_ENTRY, "size": [320, 320], "mean": 128, "deviation": 128},
        labels=["circle", "square", "triangle", *(f"class {index}" for index in range(4, 91))],
    )
    layout = write_brought_project(tmp_path, {"it": entry})
    source = SAMPLES / "graphs" / f"ssdlite_mobiledet_edgetpu_{kind}.meta"
    freeze_meta_graph(source, tmp_path / "models" / "brought" / "it.pb", META_ENTRY, 320)
    for variant in ("trained", "qat"):
        call(layout, "export", "it", variant=variant)
    call(layout, "reference", "it")
    conversion, validation = make_row(layout, "it", scheme)
    assert (conversion["status"], conversion["reason"]) == ("ok", "")
    content = (layout.converted("it", scheme) / "model.tflite").read_bytes()
    ops = Counter(op.kind for op in read_graph(content, "it").ops)
    assert {row["output"] for row in validation["parity"]} == {"raw_boxes", "raw_scores"}
    if kind == "uint8_qat":
        assert ops == PUBLISHED_OPS
        # One step of the scores' scale, and one of the boxes': untrained heads hardly move.
        assert all(row["max_abs"] < 0.05 for row in validation["parity"])
    else:
        assert {kind: ops[kind] for kind in PUBLISHED_OPS} == PUBLISHED_OPS
        assert all(row["sqnr_db"] > 80 for row in validation["parity"])
