"""Somebody's finished file: colour order, layout, statistics, boxes and classes as its entry states them."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset11

from stages.core.base.errors import UserError
from stages.core.datasets.prepared import read_split
from stages.core.exporting.brought import export_brought
from stages.core.params.brought import BroughtModel
from stages.core.params.steps import ExportParams
from stages.core.processing.decode import outputs_to_detections
from stages.core.processing.preprocess import preprocess_image
from stages.core.referencing.finished import load_finished
from stages.core.referencing.reference import compute_reference
from stages.core.results.brought import read_brought_facts
from stages.core.results.interface import Interface, read_interface
from stages.core.results.kinds import Backend, Variant
from tests.bad_models import POINTER, build_classifier, drop_ops, rename_op
from tests.builders import write_split
from tests.tflite_builder import build_detector

SIDE = 8
LABELS = {1: "red", 2: "green", 3: "blue"}
COLORS = ((250, 10, 10), (10, 240, 10), (10, 10, 230), (200, 10, 10))


def write_ir(path: Path, shape: tuple[int, ...] = (1, 3, SIDE, SIDE)) -> None:
    """An IR that takes one NCHW image in BGR, divided by 255, and gives its four quadrants: corners in pixels x first,
    class of the strongest channel from 1."""
    image = opset11.parameter(list(shape), np.float32)
    kernel = opset11.constant(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1))
    value = opset11.convolution(image, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    half = SIDE // 2
    value = opset11.avg_pool(value, [half, half], [0, 0], [0, 0], [half, half], True)
    flat = opset11.reshape(value, opset11.constant(np.asarray([1, 3, 4], np.int64)), False)
    best = opset11.topk(flat, opset11.constant(np.int64(1)), 1, "max", "none", "i32")
    squeeze = opset11.constant(np.asarray([1], np.int64))
    classes = opset11.add(opset11.squeeze(best.output(1), squeeze), opset11.constant(np.asarray([1], np.int32)))
    corners = [[x, y, x + half, y + half] for y in (0, half) for x in (0, half)]
    results = {
        "boxes": opset11.constant(np.asarray([corners], np.float32)),
        "scores": opset11.squeeze(best.output(0), squeeze),
        "labels": classes,
        "count": opset11.constant(np.asarray([4], np.int64)),
    }
    for name, node in results.items():
        node.output(0).get_tensor().set_names({name})
    image.output(0).get_tensor().set_names({"data"})
    ov.save_model(ov.Model([node.output(0) for node in results.values()], [image]), path, compress_to_fp16=False)


def entry(**changes: Any) -> BroughtModel:
    tree = {
        "kind": "openvino",
        "path": "models/brought/it.xml",
        "layout": "detections",
        "input": {"name": "data", "size": [SIDE, SIDE], "mean": 0, "deviation": 255, "color_order": "BGR"},
        "outputs": {"boxes": "boxes", "scores": "scores", "classes": "labels", "num_detections": "count"},
        "labels": ["blue", "green", "red"],
        "box_format": "xyxy_pixels",
        "first_class": 1,
    }
    return BroughtModel.model_validate(tree | changes)


def export(root: Path, model: BroughtModel, variant: Variant = Variant.TRAINED) -> tuple[Path, tuple[str, ...]]:
    out = root / "exported" / str(variant)
    notes = export_brought("it", model, root=root, variant=variant, labels=LABELS, settings=ExportParams(), out_dir=out)
    return out, notes


def picture() -> np.ndarray:
    """uint8 [16, 16, 3], RGB: four quadrants of one colour each."""
    image = np.zeros((16, 16, 3), np.uint8)
    for index, color in enumerate(COLORS):
        y, x = divmod(index, 2)
        image[y * 8 : y * 8 + 8, x * 8 : x * 8 + 8] = color
    return image


def detect(folder: Path, interface: Interface) -> Any:
    facts = read_brought_facts(folder)
    assert facts is not None
    run = load_finished(folder / facts.finished, Backend(facts.kind), interface)
    tensor, placement = preprocess_image(picture(), interface.input)
    return outputs_to_detections(run(tensor)[0], interface, placement)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models" / "brought").mkdir(parents=True)
    write_ir(tmp_path / "models" / "brought" / "it.xml")
    return tmp_path


def test_foreign_conventions_are_undone(root: Path) -> None:
    folder, notes = export(root, entry())
    interface = read_interface(folder)
    assert (interface.input.layout, interface.input.color_order, interface.input.takes_pixels) == ("NCHW", "BGR", False)
    assert interface.class_map == (0, 3, 2, 1)
    found = detect(folder, interface)
    assert found.classes.tolist() == [1, 2, 3, 1]
    np.testing.assert_allclose(found.scores, [250 / 255, 240 / 255, 230 / 255, 200 / 255], atol=1e-3)
    np.testing.assert_allclose(found.boxes_xyxy[1], [8, 0, 16, 8], atol=1e-4)
    assert "its own reference" in notes[0]


@pytest.mark.parametrize(
    ("changes", "classes"),
    [
        ({"first_class": 0}, [1, 2]),
        ({"labels": ["red", "green", "blue"]}, [3, 2, 1, 3]),
        ({"labels": ["blue", "wheel", "red"]}, [1, 3, 1]),
        ({"input": {"name": "data", "size": [SIDE, SIDE], "mean": 0, "deviation": 255}}, [3, 2, 1, 3]),
    ],
    ids=["off_by_one", "other_order", "unknown_class", "rgb"],
)
def test_another_statement_gives_other_classes(root: Path, changes: dict[str, Any], classes: list[int]) -> None:
    folder, _ = export(root, entry(**changes))
    assert detect(folder, read_interface(folder)).classes.tolist() == classes


def test_the_reference_holds_what_the_other_order_of_colours_gives(root: Path) -> None:
    write_split(root / "val")
    split = read_split(root / "val")
    right, wrong = (
        compute_reference(export(root, model)[0], split)
        for model in (entry(), entry(input=entry().input.model_dump() | {"color_order": "RGB"}))
    )
    assert right.swapped_image_ids.tolist() == right.image_ids.tolist()
    np.testing.assert_array_equal(right.swapped_outputs["detection_classes"], wrong.outputs["detection_classes"])
    assert (right.outputs["detection_classes"] != wrong.outputs["detection_classes"]).any()


def test_other_variants_say_why_they_are_not_there(root: Path) -> None:
    for variant in (Variant.QAT, Variant.PRUNED, Variant.PRUNED_QAT):
        folder, notes = export(root, entry(), variant)
        assert "not exported" in notes[0]
        assert not (folder / "model.xml").exists()


BAD: list[tuple[str, dict[str, Any], str]] = [
    (
        "output",
        {"outputs": entry().outputs | {"boxes": "bboxes"}},
        "no output 'bboxes'; nearest: boxes, .*it has boxes, count, labels",
    ),
    ("input", {"input": entry().input.model_dump() | {"name": "image"}}, "no input 'image'; it is data"),
    ("size", {"input": entry().input.model_dump() | {"size": [16, 16]}}, r"8\] cannot be reshaped to \[1, 3, 16, 16\]"),
    ("swapped", {"outputs": entry().outputs | {"boxes": "scores", "scores": "boxes"}}, "are not detections: expected"),
    ("no_class", {"labels": ["cat"]}, "none of its classes"),
    ("path", {"path": "models/brought/other.xml"}, "no such file"),
]


@pytest.mark.parametrize(("case", "changes", "says"), BAD, ids=[row[0] for row in BAD])
def test_a_wrong_entry_of_a_file_is_one_clear_line(root: Path, case: str, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        export(root, entry(**changes))
    assert "\n" not in str(caught.value)
    assert not (root / "exported").exists() or not list((root / "exported").iterdir()), case


def test_several_images_are_refused(root: Path) -> None:
    path = root / "models" / "brought" / "it.xml"
    image = opset11.parameter([2, 3, SIDE, SIDE], np.float32)
    kernel = opset11.constant(np.ones((3, 3, 1, 1), np.float32))
    value = opset11.convolution(image, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    parts = {
        "boxes": np.zeros((1, 4, 4), np.float32),
        "scores": np.zeros((1, 4), np.float32),
        "labels": np.zeros((1, 4), np.float32),
        "count": np.zeros(1, np.float32),
    }
    nodes = {name: opset11.constant(array) for name, array in parts.items()} | {"features": value}
    for name, node in nodes.items():
        node.output(0).get_tensor().set_names({name})
    image.output(0).get_tensor().set_names({"data"})
    ov.save_model(ov.Model([node.output(0) for node in nodes.values()], [image]), path)
    with pytest.raises(UserError, match=r"takes .2, 3, 8, 8.*one image of a fixed size"):
        export(root, entry())


def test_what_is_dynamic_is_fixed_to_the_stated_size(root: Path) -> None:
    write_ir(root / "models" / "brought" / "it.xml", (-1, 3, -1, -1))
    folder, _ = export(root, entry())
    assert read_interface(folder).input.shape == (1, 3, SIDE, SIDE)
    assert detect(folder, read_interface(folder)).classes.tolist() == [1, 2, 3, 1]
    larger = entry().input.model_dump() | {"size": [16, 16]}
    with pytest.raises(UserError, match=r"input.size: a graph for .* cannot be reshaped to \[1, 3, 16, 16\]"):
        export(root, entry(input=larger))


def test_an_ir_keeps_its_own_names_beside_ours(root: Path) -> None:
    folder, _ = export(root, entry())
    model = ov.Core().read_model(folder / "model.xml")
    assert model.inputs[0].get_names() == {"image", "data"}
    assert {frozenset(port.get_names()) for port in model.outputs} >= {
        frozenset({"detection_boxes", "boxes"}),
        frozenset({"num_detections", "count"}),
    }


TFLITES: list[tuple[str, bytes, str]] = [
    ("pointer", POINTER, "Git LFS pointer"),
    ("no_ops", drop_ops(build_detector()), "without a graph"),
    ("classifier", build_classifier(b""), "no convolution or fully-connected layer|no output"),
    ("edge_tpu", rename_op("edgetpu-custom-op")(build_detector()), "compiled for an Edge TPU"),
    ("half", build_detector()[:400], "truncated or damaged"),
]


@pytest.mark.parametrize(("case", "content", "says"), TFLITES, ids=[row[0] for row in TFLITES])
def test_a_wrong_tflite_is_one_clear_line(tmp_path: Path, case: str, content: bytes, says: str) -> None:
    (tmp_path / "models" / "brought").mkdir(parents=True)
    (tmp_path / "models" / "brought" / f"{case}.tflite").write_bytes(content)
    with pytest.raises(UserError, match=says):
        export(tmp_path, entry(kind="tflite", path=f"models/brought/{case}.tflite"))
