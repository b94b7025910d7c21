"""The table of layouts: whatever a model calls, orders and counts its outputs, the detections are the same."""

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.core.base.errors import UserError
from stages.core.converting.client_metadata import append_file
from stages.core.exporting.brought import export_brought
from stages.core.params.brought import LAYOUTS, BroughtModel
from stages.core.params.steps import ExportParams
from stages.core.processing.decode import outputs_to_detections, settle_masks
from stages.core.processing.detections import Detections
from stages.core.processing.preprocess import place_image
from stages.core.referencing.finished import load_finished
from stages.core.results.interface import Interface, read_interface
from stages.core.results.kinds import Backend, Variant
from tests.tflite_builder import QUADRANTS_YXYX, SIZE, build_foreign

LABELS = {1: "red", 2: "green", 3: "blue"}
CLASSES = np.asarray([2, 0, 1, 0])
"""Of the four quadrants, from 0."""
LEVELS = (250, 200, 150, 100)
IMAGE = np.kron(np.asarray(LEVELS).reshape(2, 2), np.ones((SIZE // 2, SIZE // 2)))[None, :, :, None] * [1, 1, 1]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model of somebody else.

    Attributes:
      layout, entry: As its entry in params.yaml states them; names: key to the model's own name, in the model's order.
      masks: What they span; empty without them.
    """

    id: str
    layout: str = "detections"
    names: dict[str, str]
    entry: dict[str, Any] = field(default_factory=dict)
    masks: str = ""

    @property
    def model(self) -> BroughtModel:
        tree = {
            "kind": "tflite",
            "path": "models/brought/it",
            "layout": self.layout,
            "input": {"name": "image", "size": [SIZE, SIZE], "mean": 0, "deviation": 1},
            "outputs": self.names,
            "labels": list(LABELS.values()),
        }
        return BroughtModel.model_validate(tree | self.entry)

    def outputs(self) -> dict[str, np.ndarray]:
        """Own name to what the model gives, its conventions as stated; the scores' is a placeholder."""
        model = self.model
        order, _, unit = model.box_format.partition("_")
        boxes = QUADRANTS_YXYX if order == "yxyx" else QUADRANTS_YXYX[:, [1, 0, 3, 2]]
        upper = np.zeros((4, SIZE, SIZE), np.uint8)
        for mask, (top, left, bottom, right) in zip(upper, (QUADRANTS_YXYX * SIZE).astype(int), strict=True):
            mask[top : (top + bottom) // 2, left:right] = 1
        values = {
            "boxes": (boxes * (SIZE if unit == "pixels" else 1))[None].astype(np.float32),
            "scores": np.zeros((1, 4), np.float32),
            "classes": (CLASSES + model.first_class)[None].astype(np.int32),
            "num_detections": np.asarray([4], np.int64),
            "masks": np.repeat([[1.0], [0.0]], 3, axis=0)[None, None].repeat(4, 1).repeat(6, 3).astype(np.float32),
            "reframed_masks": upper[None],
        }
        return {name: values[key] for key, name in self.names.items()}


API = {
    "boxes": "detection_boxes",
    "scores": "detection_scores",
    "classes": "detection_classes",
    "num_detections": "num_detections",
}
MIXED = {"num_detections": "d", "classes": "a", "scores": "c", "boxes": "b"}
FROM_1 = {"first_class": 1}
ROWS = (
    Row(id="four_outputs", names=API),
    Row(id="any_order", names=MIXED, entry=FROM_1),
    Row(id="pixels", names=API, entry={"box_format": "yxyx_pixels"}),
    Row(id="x_first", names=MIXED, entry={"box_format": "xyxy_normalized"}),
    Row(id="masks", names={"masks": "detection_masks"} | API, entry=FROM_1, masks="box"),
    Row(id="reframed", names=API | {"reframed_masks": "detection_masks_reframed"}, entry=FROM_1, masks="image"),
    Row(id="model_garden", layout="model_garden", names=API),
    Row(id="model_garden_masks", layout="model_garden", names=API | {"masks": "detection_masks"}, masks="box"),
)


def check(found: Detections, row: Row) -> None:
    """The four quadrants, and the upper half of each where there are masks."""
    np.testing.assert_allclose(found.boxes_xyxy, QUADRANTS_YXYX[:, [1, 0, 3, 2]] * SIZE, atol=1e-4)
    assert found.classes.tolist() == (CLASSES + 1).tolist()
    np.testing.assert_allclose(found.scores, np.asarray(LEVELS) / 255, atol=1e-3)
    assert (found.masks is not None) == bool(row.masks)
    if found.masks is not None:
        quarter = found.masks.shape[1] // 4
        assert found.masks[:, :quarter].min() > 0.9
        assert found.masks[:, -quarter:].max() < 0.1


def export(row: Row, root: Path) -> Path:
    out = root / "exported"
    variant, settings = Variant.TRAINED, ExportParams()
    export_brought("it", row.model, root=root, variant=variant, labels=LABELS, settings=settings, out_dir=out)
    return out


def decode(outputs: dict[str, np.ndarray], interface: Interface) -> Detections:
    return outputs_to_detections(
        settle_masks(outputs, interface), interface, place_image((SIZE, SIZE), interface.input)
    )


@pytest.mark.parametrize("row", ROWS, ids=attrgetter("id"))
def test_a_finished_file(row: Row, tmp_path: Path) -> None:
    path = tmp_path / row.model.path
    path.parent.mkdir(parents=True)
    path.write_bytes(build_foreign(row.outputs(), row.names["scores"]))
    folder = export(row, tmp_path)
    interface = read_interface(folder)
    assert interface.has_masks == bool(row.masks)
    run = load_finished(folder / "model.tflite", Backend.TFLITE, interface)
    check(decode(run(IMAGE.astype(np.float32))[0], interface), row)


@pytest.mark.parametrize("first", ["???\n", "background\n", ""])
def test_labels_that_are_attached_to_the_file(first: str, tmp_path: Path) -> None:
    row = Row(id="attached", names=API, entry={"labels": None})
    path = tmp_path / row.model.path
    path.parent.mkdir(parents=True)
    path.write_bytes(
        append_file(build_foreign(row.outputs(), API["scores"]), "labelmap.txt", f"{first}red\ngreen\nblue\n")
    )
    folder = export(row, tmp_path)
    interface = read_interface(folder)
    run = load_finished(folder / "model.tflite", Backend.TFLITE, interface)
    check(decode(run(IMAGE.astype(np.float32))[0], interface), row)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "???\nred\n???\ngreen\n"),
        ("map.pbtxt", 'item { id: 1 name: "red" }\nitem { id: 3 name: "green" }\n'),
    ],
)
def test_label_files_with_gaps(name: str, text: str, tmp_path: Path) -> None:
    """`classes` holds ids less one: 0 is red, 2 is green, and 1 is no class."""
    row = Row(id="gaps", names=API, entry={"labels": f"models/brought/{name}"})
    path = tmp_path / row.model.path
    path.parent.mkdir(parents=True)
    path.write_bytes(build_foreign(row.outputs(), API["scores"]))
    (path.parent / name).write_text(text)
    assert read_interface(export(row, tmp_path)).class_map == (1, 0, 2)


def save_foreign(row: Row, folder: Path) -> None:
    """The same as a SavedModel of any batch and size that takes uint8, in a map over the images."""
    import tensorflow as tf

    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")])
    def detect(image: Any) -> dict[str, Any]:
        pixels = tf.map_fn(lambda one: tf.image.resize(one, [SIZE, SIZE]), tf.cast(image, tf.float32))
        means = tf.reshape(tf.nn.avg_pool2d(pixels, SIZE // 2, SIZE // 2, "VALID"), [1, 4, 3])
        found: dict[str, Any] = {name: tf.constant(value) for name, value in row.outputs().items()}
        return found | {row.names["scores"]: tf.reduce_max(means, axis=2) / 255.0}

    module.detect = detect
    tf.saved_model.save(module, str(folder), signatures={"serving_default": detect})


@pytest.mark.slow
@pytest.mark.parametrize("row", [ROWS[1], ROWS[5], ROWS[7]], ids=attrgetter("id"))
def test_a_saved_model(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    from stages.core.exporting import rewritten_export

    row = Row(**{**vars(row), "entry": row.entry | {"kind": "saved_model"}})
    save_foreign(row, tmp_path / row.model.path)
    # What the converter makes of such graphs is another test's.
    monkeypatch.setattr(rewritten_export, "write_brought_tflites", lambda *args: None)
    folder = export(row, tmp_path)
    function = tf.saved_model.load(str(folder / "saved_model")).signatures["serving_default"]
    outputs = {name: value.numpy() for name, value in function(image=tf.constant(IMAGE, tf.float32)).items()}
    check(decode(outputs, read_interface(folder)), row)


BAD: list[tuple[str, dict[str, Any], str]] = [
    (
        "unknown",
        {"names": API | {"mask": "m"}},
        "layout detections has boxes, scores, classes, num_detections, and may",
    ),
    ("both", {"names": API | {"masks": "a", "reframed_masks": "b"}}, "may have masks or reframed_masks"),
    ("missing", {"names": {"boxes": "b"}, "layout": "model_garden"}, "layout model_garden has boxes, scores"),
    ("raw", {"layout": "raw_heads", "names": API}, "a tflite is read as detections or model_garden"),
    ("bound", {"names": API, "entry": {"bound": {"meta": "models/brought/a.npy"}}}, "nothing is bound or replaced"),
    ("labels", {"names": API, "entry": {"labels": None, "kind": "openvino"}}, "only a .tflite file may have them"),
]


@pytest.mark.parametrize(("case", "changes", "says"), BAD, ids=[row[0] for row in BAD])
def test_entries_that_fit_no_row(case: str, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        _ = Row(id=case, **changes).model


def test_masks_of_another_number_or_size(tmp_path: Path) -> None:
    spoilt: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "masks": lambda value: value[:, :3],
        "reframed_masks": lambda value: value[:, :, :4],
    }
    path = tmp_path / "models" / "brought" / "it"
    path.parent.mkdir(parents=True)
    for row, key in ((ROWS[4], "masks"), (ROWS[5], "reframed_masks")):
        outputs = row.outputs()
        outputs[row.names[key]] = np.ascontiguousarray(spoilt[key](outputs[row.names[key]]))
        path.write_bytes(build_foreign(outputs, row.names["scores"]))
        with pytest.raises(UserError, match=rf"outputs.{key}: shape .*, expected \(1, 4, "):
            export(row, tmp_path)


def test_every_layout_of_detections_has_a_row() -> None:
    assert {row.layout for row in ROWS} == {name for name, names in LAYOUTS.items() if "num_detections" in names.needed}
