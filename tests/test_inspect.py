"""`python -m stages.inspect` on files that need no TensorFlow to be made, and on what it must refuse."""

import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from stages.core.base.errors import UserError
from stages.core.inspecting.draft import OF_THE_API, draft_params, find_detections, guess_statistics
from stages.core.inspecting.findings import Inspection, SignatureFacts, TensorFacts
from stages.core.inspecting.inspect import inspect_model
from stages.core.params.brought import BroughtModel
from stages.inspect import main
from tests.bad_models import POINTER, build_classifier, drop_ops, rename_op
from tests.tflite_builder import build_detector


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def write_keras(path: Path, layers: list[dict[str, object]]) -> Path:
    """A .keras archive of these layers, without weights."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": layers}}))
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
    return path


INPUT = {
    "class_name": "InputLayer",
    "module": "keras.layers",
    "config": {"name": "x", "batch_shape": [None, 64, 64, 3]},
}


def test_a_tflite_file_is_what_its_bytes_say(tmp_path: Path) -> None:
    found = inspect_model(write(tmp_path / "int8_or_so.bin", build_detector()))
    assert found.kind == "tflite"
    assert found.counts["TFLite_Detection_PostProcess"] == 1
    assert [(tensor.name, tensor.dtype) for tensor in found.signatures[0].inputs] == [("image", "float32")]
    assert {tensor.name for tensor in found.signatures[0].outputs} == {
        "detection_boxes", "detection_classes", "detection_scores", "num_detections",
    }  # fmt: skip
    assert any(row.target == "OpenVINO" for row in found.obstacles)


def test_labels_are_read_from_the_attached_archive(tmp_path: Path) -> None:
    path = write(tmp_path / "it.tflite", build_detector())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labelmap.txt", "???\nperson\nbicycle\n")
    assert inspect_model(path).labels == ("???", "person", "bicycle")


@pytest.mark.parametrize(
    ("name", "target", "says"),
    [
        ("FlexCropAndResize", "TFLite builtins", "Flex delegate"),
        ("MyOp", "TFLite builtins", "somebody's own"),
        ("edgetpu-custom-op", "TFLite builtins", "from before edgetpu_compiler"),
    ],
)
def test_ops_that_no_runtime_here_has(tmp_path: Path, name: str, target: str, says: str) -> None:
    found = inspect_model(write(tmp_path / "it.tflite", rename_op(name)(build_detector())))
    told = [row.advice for row in found.obstacles if row.target == target and name in row.what]
    assert len(told) == 1
    assert says in told[0]


LAMBDA = {"class_name": "Lambda", "module": "keras.layers", "config": {"function": {"code": "not base64, not code"}}}


def test_layers_of_its_own_are_named_and_never_run(tmp_path: Path) -> None:
    own = {"class_name": "ProposalLayer", "module": "mrcnn.model", "config": {}}
    found = inspect_model(write_keras(tmp_path / "it.keras", [INPUT, own]))
    assert found.signatures[0].inputs[0].shape == (-1, 64, 64, 3)
    assert [row.what for row in found.obstacles] == ["layers of its own: ProposalLayer (1)"]
    assert found.metadata == (("keras_version", "2.15.0"),)


def test_lambda_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"it.keras: 1 Lambda layers: Python code.*not run here.*--trust"):
        inspect_model(write_keras(tmp_path / "it.keras", [INPUT, LAMBDA]))
    with pytest.raises(UserError, match=r"it.pkl: a pickle, which runs code when it is read; --trust runs it"):
        inspect_model(write(tmp_path / "it.pkl", pickle.dumps({"a": 1})))


def test_netron_is_opened_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, calls = write(tmp_path / "it.tflite", build_detector()), []
    monkeypatch.setitem(sys.modules, "netron", None)
    with pytest.raises(UserError, match="--netron: the package netron is not installed"):
        main([str(path), "--netron"])
    opened = SimpleNamespace(start=lambda file: calls.append(file), wait=lambda: calls.append("wait"))
    monkeypatch.setitem(sys.modules, "netron", opened)
    assert main([str(path), "--netron"]) == 0
    assert calls == [str(path), "wait"]


def test_weights_alone_say_so(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("conv/kernel", data=[[1.0, 2.0]], dtype="float32")
    found = inspect_model(tmp_path / "w.h5")
    assert [(row.dtype, row.values) for row in found.weights] == [("float32", 2)]
    assert "weights alone" in found.notes[0]


REFUSED: list[tuple[str, Callable[[], bytes], str]] = [
    ("empty.tflite", lambda: b"", "an empty file, expected a model"),
    ("pointer.tflite", lambda: POINTER, "a Git LFS pointer.*git lfs pull"),
    ("no_ops.tflite", lambda: drop_ops(build_detector()), "without a graph, expected one with ops"),
    ("half.tflite", lambda: build_detector()[:300], "truncated or damaged .tflite"),
    ("it.pkl", lambda: pickle.dumps({"a": 1}), "a pickle, which runs code when it is read"),
    ("it.h5", lambda: b"\x89HDF\r\n\x1a\n" + bytes(20), "truncated or damaged HDF5"),
    ("it.xml", lambda: b'<?xml version="1.0"?><net name="a" version="11"></net>', "it.bin: no such file"),
    ("it.keras", lambda: b"PK\x03\x04" + bytes(20), "damaged zip"),
    ("it.onnx", lambda: b"\x08\x07\x12\x07pytorch:\x02\x08\x01", "an ONNX model"),
    ("it.ckpt.index", lambda: b"\x00\x00\x01abc", "weights without a graph"),
    ("it.pb", lambda: b"item { id: 1 }", "no model format that is known here"),
]


@pytest.mark.parametrize(("name", "make", "says"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_no_model_is_one_clear_line(tmp_path: Path, name: str, make: Callable[[], bytes], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        inspect_model(write(tmp_path / name, make()))
    assert "\n" not in str(caught.value)


def test_ways_to_show_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "it <b>.tflite", build_detector())
    assert main([str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "tflite"
    assert main([str(path), "--html", str(tmp_path / "it.html")]) == 0
    page = (tmp_path / "it.html").read_text()
    assert "it &lt;b&gt;.tflite" in page
    assert "http" not in page
    assert main([str(path)]) == 0
    assert "TFLite_Detection_PostProcess" in capsys.readouterr().out


def test_the_draft_of_a_finished_file_is_an_entry(tmp_path: Path) -> None:
    text = draft_params(inspect_model(write(tmp_path / "their-model.tflite", build_detector())))
    model = BroughtModel.model_validate(yaml.safe_load(text)["brought"]["their_model"])
    assert (model.kind, model.layout, model.input.size) == ("tflite", "detections", (8, 8))
    assert model.outputs["classes"] == "detection_classes"
    assert "mean: 127.5 # guessed: check it" in text


def test_a_classifier_has_no_draft(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not seen to be a detector.*probabilities \[1, 1, 1, 3\]"):
        draft_params(inspect_model(write(tmp_path / "it.tflite", build_classifier(b""))))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b", "c", "d"], {"boxes": "a", "classes": "b", "scores": "c", "num_detections": "d"}),
        (["a", "my_scores", "my_classes", "d"], {"boxes": "a", "classes": "my_classes", "scores": "my_scores"}),
    ],
)
def test_outputs_are_told_apart(names: list[str], expected: dict[str, str]) -> None:
    shapes = ((1, 10, 4), (1, 10), (1, 10), (1,))
    outputs = [TensorFacts(name=n, tensor=n, shape=s, dtype="float32") for n, s in zip(names, shapes, strict=True)]
    found = find_detections(outputs)
    assert found is not None
    assert expected.items() <= found.items()


DRAFTED: list[tuple[str, dict[str, tuple[int, ...]], dict[str, str]]] = [
    ("detections", {"b": (1, 9, 4), "c": (1, 9), "s": (1, 9), "n": (1,)}, {"boxes": "b", "num_detections": "n"}),
    (
        "model_garden",
        dict.fromkeys(("image_info", "detection_masks", *OF_THE_API.values()), (1,)),
        {"boxes": "detection_boxes", "masks": "detection_masks"},
    ),
    (
        "matterport",
        {"bbox": (1, 99, 4, 4), "found": (1, 9, 6), "rois": (1, 99, 4), "m": (1, 9, 28, 28, 3)},
        {"detections": "found", "masks": "m"},
    ),
    ("raw_heads", {"b": (1, 99, 4), "s": (1, 99, 3), "a": (99, 4)}, {"boxes": "b", "scores": "s", "anchors": "a"}),
]


@pytest.mark.parametrize(("layout", "shapes", "expected"), DRAFTED, ids=[row[0] for row in DRAFTED])
def test_a_saved_models_layout_is_guessed(
    layout: str, shapes: dict[str, tuple[int, ...]], expected: dict[str, str], tmp_path: Path
) -> None:
    image = TensorFacts(name="x", tensor="x", shape=(1, 64, 64, 3), dtype="float32")
    meta = TensorFacts(name="meta", tensor="meta", shape=(1, 15), dtype="float32")
    outputs = tuple(TensorFacts(name=n, tensor=n, shape=s, dtype="float32") for n, s in shapes.items())
    signature = SignatureFacts(name="serving_default", inputs=(image, meta), outputs=outputs)
    found = Inspection(path=str(tmp_path / "it"), kind="saved_model", size_bytes=1, sha256="", signatures=(signature,))
    model = BroughtModel.model_validate(yaml.safe_load(draft_params(found))["brought"]["it"])
    assert (model.layout, model.first_class) == (layout, int(layout == "model_garden"))
    assert expected.items() <= model.outputs.items()
    assert model.bound == ({} if layout == "raw_heads" else {"meta": "models/brought/meta.npy"})


def test_integer_inputs_are_guessed_from_their_scale() -> None:
    image = TensorFacts(name="x", tensor="x", shape=(1, 8, 8, 3), dtype="uint8", scale=1 / 127.5, zero_point=128)
    mean, deviation = guess_statistics(image)
    assert (mean, round(deviation, 3)) == (128, 127.5)
