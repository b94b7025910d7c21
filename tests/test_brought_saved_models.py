"""Somebody's SavedModel as a row: raw heads or detections, by the names of its signature."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.core.base.errors import UserError
from stages.core.base.layout import Layout
from stages.core.results.interface import read_interface
from tests.brought_project import call, make_row, write_brought_project

pytestmark = pytest.mark.slow

SIZE = 32
CELLS = 16
SPEC = {"name": "pixels", "size": [SIZE, SIZE], "mean": 0, "deviation": 255}
RAW = {"boxes": "encodings", "scores": "probabilities", "anchors": "priors"}
FINAL = {"boxes": "found", "scores": "sure", "classes": "what", "num_detections": "many"}


def save(folder: Path, *, crops: bool = False) -> None:
    """A SavedModel of any batch and size: raw heads under `heads`, its own detections (the four cells of the strongest
    red) under `serving_default`."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    module = tf.Module()
    module.kernel = tf.Variable(rng.normal(0, 0.3, (8, 8, 3, 4)).astype(np.float32))
    module.classes = tf.Variable(rng.normal(0, 0.6, (8, 8, 3, 4)).astype(np.float32))
    centers = (np.arange(4) + 0.5) / 4
    y, x = (grid.reshape(-1) for grid in np.meshgrid(centers, centers, indexing="ij"))
    priors = np.stack([y - 0.2, x - 0.2, y + 0.2, x + 0.2], axis=1).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="pixels")])
    def heads(pixels: Any) -> dict[str, Any]:
        boxes = tf.nn.conv2d(pixels, module.kernel, 8, "SAME")
        scores = tf.sigmoid(tf.nn.conv2d(pixels, module.classes, 8, "SAME"))
        return {
            "encodings": tf.reshape(boxes, [tf.shape(pixels)[0], -1, 4]),
            "probabilities": tf.reshape(scores, [tf.shape(pixels)[0], -1, 4]),
            "priors": tf.constant(priors),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="pixels")])
    def detect(pixels: Any) -> dict[str, Any]:
        scores = tf.reshape(tf.sigmoid(tf.nn.conv2d(pixels, module.classes, 8, "SAME"))[..., :1], [1, -1])
        best, order = tf.math.top_k(scores, 4)
        found = tf.gather(tf.constant(priors[:, [1, 0, 3, 2]] * SIZE), order[0])[None]
        if crops:
            sizes = tf.image.crop_and_resize(pixels, tf.zeros([1, 4]), [0], [1, 1])
            best = best + 1e-6 * tf.math.igamma(2.0, 1.5 + tf.reduce_sum(sizes))
        return {"found": found, "sure": best, "what": order % 3 + 1, "many": tf.constant([4], tf.int64)}

    module.heads, module.detect = heads, detect
    tf.saved_model.save(module, str(folder), signatures={"heads": heads, "serving_default": detect})


def entry(layout: str, **changes: Any) -> dict[str, Any]:
    names = {"raw_heads": RAW, "detections": FINAL}[layout]
    tree = {"kind": "saved_model", "path": "models/brought/it", "layout": layout, "input": SPEC, "outputs": names}
    tree |= {"labels": ["circle", "square", "triangle"]}
    tree |= {"signature": "heads"} if layout == "raw_heads" else {"box_format": "xyxy_pixels", "first_class": 1}
    return tree | changes


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    root = tmp_path_factory.mktemp("saved")
    layout = write_brought_project(root, {name: entry(name) for name in ("raw_heads", "detections")})
    save(root / "models" / "brought" / "it")
    for name in ("raw_heads", "detections"):
        call(layout, "export", name)
        call(layout, "reference", name)
    return layout


@pytest.mark.parametrize("name", ["raw_heads", "detections"])
@pytest.mark.parametrize("scheme", ["float32", "openvino_float32"])
def test_it_is_converted_and_agrees_with_itself(project: Layout, name: str, scheme: str) -> None:
    conversion, validation = make_row(project, name, scheme)
    assert (conversion["status"], conversion["reason"]) == ("ok", "")
    assert validation["agreement"]["num_reference"] > 3
    assert validation["agreement"]["f1"] == 1.0


def test_its_conventions_are_in_the_interface(project: Layout) -> None:
    interface = read_interface(project.exported("detections", "trained"))
    assert (interface.box_format, interface.class_map) == ("xyxy_pixels", (0, 1, 2, 3))
    assert interface.input.shape == (1, SIZE, SIZE, 3)
    call(project, "export", "detections", variant="qat")
    result = json.loads((project.exported("detections", "qat") / "result.json").read_text())
    assert result["status"] == "not_applicable"


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("signature", {"signature": "predict"}, "no signature 'predict'; it has: heads, serving_default"),
    ("output", {"outputs": FINAL | {"boxes": "fund"}}, "outputs.boxes: no node 'fund'.*nearest: found"),
    ("swapped", {"outputs": FINAL | {"boxes": "sure", "scores": "found"}}, "are not one image's detections"),
    ("size", {"input": SPEC | {"size": [64, 64]}}, "expected one anchor per box"),
]


@pytest.mark.parametrize(("case", "changes", "says"), BAD, ids=[row[0] for row in BAD])
def test_a_wrong_entry_of_a_saved_model(
    project: Layout, tmp_path: Path, case: str, changes: dict[str, Any], says: str
) -> None:
    layout = write_brought_project(tmp_path, {case: entry("raw_heads" if case == "size" else "detections", **changes)})
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "brought").symlink_to(project.root / "models" / "brought")
    with pytest.raises(UserError, match=says) as caught:
        call(layout, "export", case)
    assert "\n" not in str(caught.value)
    assert not layout.exported(case, "trained").exists()


def test_ops_that_a_runtime_lacks_are_replaced_or_fail_its_rows(tmp_path: Path) -> None:
    """`CropAndResize` has a row, `Igamma` gets one of the user's own."""
    folder = tmp_path / "models" / "brought"
    own = {"substitutions": "models/brought/rows.py"}
    layout = write_brought_project(tmp_path, {"it": entry("detections"), "own": entry("detections", **own)})
    save(folder / "it", crops=True)
    (folder / "rows.py").write_text("SUBSTITUTIONS = {'Igamma': lambda inputs, attributes: [inputs[1] * 0.0]}\n")
    call(layout, "export", "it")
    call(layout, "convert", "it", scheme="float32")
    conversion = json.loads((layout.converted("it", "float32") / "result.json").read_text())
    assert conversion["status"] == "failed"
    assert "unknown custom ops Igamma" in conversion["reason"]
    for stage in ("export", "reference"):
        call(layout, stage, "own")
    conversion, validation = make_row(layout, "own", "float32")
    assert (conversion["status"], conversion["reason"]) == ("ok", "")
    assert validation["agreement"]["f1"] == 1.0
    proof = json.loads((layout.converted("own", "float32") / "proof.json").read_text())
    replaced = {row["op"]: row for row in proof["substitutions"]}
    assert (replaced["CropAndResize"]["count"], replaced["Igamma"]["by"]) == (1, "a row of your own")
    assert 0 <= replaced["CropAndResize"]["error"] < 1e-6
    assert replaced["Igamma"]["error"] > 0
