"""What people bring that cannot be a row, one line each: the file, what was found, what is expected; exit status 2.

That such an error is one line and status 2 is `run_stage`'s, for every stage: `tests/test_bad_input.py`.
"""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stages import export, inspect
from stages.core.base.errors import UserError
from stages.core.exporting.finished_readers import NAMES
from stages.core.graphs.flatbuffer import pack_model, parse_model
from tests.bad_models import POINTER, build_classifier, drop_ops, rename_op
from tests.brought_project import write_brought_project
from tests.tflite_builder import build_detector, build_foreign

SIZE = 8
OUTPUTS = {key: NAMES[key] for key in ("boxes", "scores", "classes", "num_detections")}
VALUES = {
    "detection_boxes": np.zeros((1, 4, 4), np.float32),
    "detection_scores": np.zeros((1, 4), np.float32),
    "detection_classes": np.zeros((1, 4), np.float32),
    "num_detections": np.zeros(1, np.float32),
}


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One mistake.

    Attributes:
      write: Writes what is brought at the path.
      says: Regular expression that the line must fit.
      entry: What the entry has beside that of a good .tflite file.
      is_inspected: Whether `inspect` must refuse it; else `export`.
    """

    id: str
    write: Callable[[Path], Any]
    says: str
    entry: dict[str, Any] = field(default_factory=dict)
    is_inspected: bool = False


def edit_input(shape: list[int]) -> bytes:
    """A detector whose image tensor has another shape."""
    model = parse_model(build_foreign(VALUES, "detection_scores"), "a good file")
    tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
    tensor.shapeSignature, tensor.shape = shape, [max(side, 1) for side in shape]
    return pack_model(model)


def write_huge(path: Path) -> None:
    """A terabyte on paper, a page on the disk."""
    path.write_bytes(build_detector())
    os.truncate(path, 1 << 40)


def save(folder: Path, *, shape: tuple[int | None, ...] = (1, SIZE, SIZE, 3), signature: bool = True) -> None:
    """A SavedModel with the four outputs."""
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(tf.ones([1, 4]))

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="image")])
    def detect(image: Any) -> dict[str, Any]:
        return VALUES | {"detection_scores": module.weight * tf.reduce_mean(image[:1])}

    module.detect = detect
    tf.saved_model.save(module, str(folder), signatures={"serving_default": detect} if signature else {})


def save_with_pointer(folder: Path) -> None:
    save(folder)
    next((folder / "variables").glob("variables.data-*")).write_bytes(POINTER)


def save_classifier(folder: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    spec = tf.TensorSpec([1, SIZE, SIZE, 3], tf.float32, name="image")
    module.classify = tf.function(
        lambda image: {"probabilities": tf.reduce_mean(image, [1, 2])}, input_signature=[spec]
    )
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.classify})


def write_lambda(path: Path) -> None:
    layer = {"class_name": "Lambda", "module": "keras.layers", "config": {"function": "gASV"}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": [layer]}}))


def write_lambda_h5(path: Path) -> None:
    import h5py

    layer = {"class_name": "Lambda", "config": {"function": ["4wEAAAA=", None, None]}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {"layers": [layer]}})


def put(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


SAVED = {"kind": "saved_model"}
FILES = (
    Bad(id="empty_conversion", write=put(drop_ops(build_detector())), says="without a graph, expected one with ops"),
    Bad(id="lfs_pointer", write=put(POINTER), says="a Git LFS pointer.*git lfs pull"),
    Bad(
        id="custom_op", write=put(rename_op("MyOp")(build_detector())), says="custom ops that no runtime here has: MyOp"
    ),
    Bad(id="flex_op", write=put(rename_op("FlexErf")(build_detector())), says="no runtime here has: FlexErf"),
    Bad(
        id="edge_tpu",
        write=put(rename_op("edgetpu-custom-op")(build_detector())),
        says="compiled for an Edge TPU; bring the file from before edgetpu_compiler",
    ),
    Bad(id="classifier", write=put(build_classifier(b"")), says="no output 'detection_boxes'.*it has probabilities"),
    Bad(
        id="several_images", write=put(edit_input([2, 8, 8, 3])), says=r"takes \(2, 8, 8, 3\), expected \(1, 8, 8, 3\)"
    ),
    Bad(
        id="dynamic_size",
        write=put(edit_input([1, -1, -1, 3])),
        says=r"takes \(1, -1, -1, 3\).*one image of a fixed size",
    ),
    Bad(
        id="unknown_name",
        write=put(build_foreign(VALUES, "detection_scores")),
        entry={"outputs": OUTPUTS | {"boxes": "detection_box"}},
        says="outputs.boxes: no output 'detection_box'; nearest: detection_boxes",
    ),
    Bad(
        id="no_labels", write=put(build_detector()), entry={"labels": None}, says="no labels are attached to it: state"
    ),
    Bad(id="larger_than_memory", write=write_huge, says=r"1099.5 GB, larger than the memory that is free \(.* GB\)"),
    Bad(id="huge_inspected", write=write_huge, is_inspected=True, says="larger than the memory that is free"),
    Bad(id="lambda", write=write_lambda, is_inspected=True, says="1 Lambda layers: Python code stored in the file"),
    Bad(id="lambda_in_h5", write=write_lambda_h5, is_inspected=True, says="1 Lambda layers.*not run here.*--trust"),
    Bad(id="h5_as_saved_model", write=write_lambda_h5, entry=SAVED, says="an HDF5 file .*; expected a SavedModel"),
    Bad(id="pickle", write=put(b"\x80\x04N."), is_inspected=True, says="a pickle, which runs code when it is read"),
)
SAVED_MODELS = (
    Bad(
        id="no_signature",
        write=lambda path: save(path, signature=False),
        says="no signature 'serving_default'; it has: none",
    ),
    Bad(id="weights_are_a_pointer", write=save_with_pointer, says="variables.data-.*: a Git LFS pointer"),
    Bad(id="saved_classifier", write=save_classifier, says="outputs.boxes: no node 'detection_boxes'.*nearest"),
    Bad(
        id="saved_for_two_images",
        write=lambda path: save(path, shape=(2, SIZE, SIZE, 3)),
        says=r"input 'image' is \(2, 8, 8, 3\), asked for \(1, 8, 8, 3\)",
    ),
    Bad(
        id="saved_for_another_size",
        write=lambda path: save(path, shape=(None, 16, 16, 3)),
        says=r"input 'image' is \(None, 16, 16, 3\), asked for \(1, 8, 8, 3\)",
    ),
    Bad(
        id="saved_with_another_name",
        write=save,
        entry={"outputs": OUTPUTS | {"scores": "detection_score"}},
        says="outputs.scores: no node 'detection_score'.*nearest: detection_scores",
    ),
    Bad(
        id="bound_to_nothing",
        write=save,
        entry={"bound": {"image_meta": "models/brought/meta.npy"}},
        says="bound: no input 'image_meta'; it has image",
    ),
)


def check(bad: Bad, root: Path) -> None:
    tree = {
        "kind": "tflite",
        "path": "models/brought/it",
        "layout": "detections",
        "input": {"name": "image", "size": [SIZE, SIZE], "mean": 0, "deviation": 1},
        "outputs": OUTPUTS,
        "labels": ["circle", "square", "triangle"],
    } | bad.entry
    layout = write_brought_project(root, {"it": tree})
    assert yaml.safe_load(layout.params.read_text())["brought"]["it"] == tree
    (root / "models" / "brought").mkdir(parents=True)
    path = root / "models" / "brought" / "it"
    bad.write(path)
    stage, args = (inspect, [str(path)]) if bad.is_inspected else (export, ["--model", "it", "--root", str(root)])
    with pytest.raises(UserError, match=bad.says) as caught:
        stage.main(args)
    assert "\n" not in str(caught.value)
    assert not (root / "models" / "exported" / "it" / "trained").exists()


@pytest.mark.parametrize("bad", FILES, ids=attrgetter("id"))
def test_a_file_is_refused_in_one_line(bad: Bad, tmp_path: Path) -> None:
    check(bad, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("bad", SAVED_MODELS, ids=attrgetter("id"))
def test_a_saved_model_is_refused_in_one_line(bad: Bad, tmp_path: Path) -> None:
    check(Bad(**{**vars(bad), "entry": SAVED | bad.entry}), tmp_path)
