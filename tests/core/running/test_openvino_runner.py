"""Hand-made OpenVINO IRs on the CPU plugin: what it answers, and what it says of files that are none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset14 as ops
import pytest

from stages.core.base.errors import ArtifactError, InferenceError
from stages.core.base.hashing import hash_files
from stages.core.base.layout import MODEL_FILES
from stages.core.converting.ir_options import apply_options, asked_for
from stages.core.params.openvino import OpenvinoParams
from stages.core.processing.preprocess import preprocess_batches
from stages.core.results.interface import Interface, write_interface
from stages.core.results.kinds import Backend
from stages.core.running.artifact import Artifact
from stages.core.running.isolated import IsolatedRunner
from stages.core.running.open import open_runner
from stages.core.running.runner import OpenRunner
from tests.tflite_builder import QUADRANTS_YXYX, SIZE
from tests.tiny_project import tiny_interface

INTERFACE = replace(tiny_interface("retinanet_mobiledet_tiny"), raw_outputs=())


def build_ir(folder: Path, *, order: tuple[str, ...] | None = None) -> Artifact:
    """What `build_detector` finds: a quadrant's class is its strongest channel, its score that channel's mean / 255."""
    image = ops.parameter([1, SIZE, SIZE, 3], np.float32, name="image")
    half = SIZE // 2
    means = ops.reduce_mean(ops.reshape(image, [1, 2, half, 2, half, 3], False), [2, 4], False)
    rows = ops.multiply(ops.reshape(means, [1, 4, 3], False), np.float32(1 / 255))
    best = ops.topk(rows, 1, 2, "max", "value")
    found = {
        "detection_boxes": ops.constant(QUADRANTS_YXYX[None]),
        "detection_scores": ops.reshape(best.output(0), [1, 4], False),
        "detection_classes": ops.convert(ops.reshape(best.output(1), [1, 4], False), np.float32),
        "num_detections": ops.constant(np.float32([4])),
    }
    results = []
    for name in order or tuple(found):
        node = ops.result(found[name])
        node.input_value(0).get_tensor().set_names({name})
        results.append(node)
    image.output(0).get_tensor().set_names({"image"})
    folder.mkdir(parents=True, exist_ok=True)
    ov.save_model(ov.Model(results, [image], "quadrants"), folder / "model.xml", compress_to_fp16=False)
    write_interface(INTERFACE, folder)
    files = tuple(folder / name for name in MODEL_FILES[Backend.OPENVINO])
    return Artifact(files, hash_files(files), Backend.OPENVINO, INTERFACE)


def picture() -> np.ndarray:
    image = np.zeros((2 * SIZE, 2 * SIZE, 3), np.uint8)
    image[:SIZE, :SIZE, 0], image[SIZE:, SIZE:, 2] = 204, 102
    return image


def check_answer(runner: OpenRunner | IsolatedRunner) -> None:
    found = runner.run(picture())
    np.testing.assert_allclose(found.scores, [0.8, 0.4], rtol=1e-5)
    np.testing.assert_allclose(found.boxes_xyxy, [[0, 0, 8, 8], [8, 8, 16, 16]])
    assert found.classes.tolist() == [1, 3]


def test_it_sees_what_is_in_the_picture(tmp_path: Path) -> None:
    runner = open_runner(build_ir(tmp_path), num_threads=1)
    check_answer(runner)
    assert runner.runtime.startswith("openvino 20")
    assert runner.delegate == "CPU plugin"
    assert runner.raw_outputs == {}
    assert all(count > 0 for count in runner.slow_ops.values())


def test_outputs_are_read_by_name_whatever_their_order(tmp_path: Path) -> None:
    names = tuple(reversed([output.name for output in INTERFACE.outputs]))
    check_answer(open_runner(build_ir(tmp_path, order=names), num_threads=1))


def test_an_inference_does_not_overwrite_the_one_before(tmp_path: Path) -> None:
    runner = open_runner(build_ir(tmp_path), num_threads=1)
    dark = runner.infer(np.zeros((1, SIZE, SIZE, 3), np.float32))
    bright = runner.infer(np.full((1, SIZE, SIZE, 3), 255, np.float32))
    assert not dark["detection_scores"].any()
    np.testing.assert_allclose(bright["detection_scores"], 1, rtol=1e-5)


def test_isolated_gives_the_same_as_here(tmp_path: Path) -> None:
    with IsolatedRunner(build_ir(tmp_path), num_threads=1) as runner:
        check_answer(runner)
        assert runner.delegate == "CPU plugin"


def test_pictures_pass_through_the_rows_of_a_batch(tmp_path: Path) -> None:
    """A file of three images of uint8 BGR answers for each picture as the plain file does, in whatever row it is."""
    options = OpenvinoParams(batch=3, input="uint8_bgr")
    plain = build_ir(tmp_path / "plain")
    model = apply_options(ov.Core().read_model(plain.path), INTERFACE, options, {})
    interface = asked_for(INTERFACE, options)
    ov.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    write_interface(interface, tmp_path)
    files = tuple(tmp_path / name for name in MODEL_FILES[Backend.OPENVINO])
    runner = open_runner(Artifact(files, hash_files(files), Backend.OPENVINO, interface), num_threads=1)
    alone = open_runner(plain, num_threads=1)
    for turns in range(5):
        image = np.rot90(picture(), turns).copy() // (turns + 1)
        found, expected = runner.run(image), alone.run(image)
        np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
        assert found.classes.tolist() == expected.classes.tolist()
        assert {name: values.shape[0] for name, values in runner.outputs.items()} == dict.fromkeys(runner.outputs, 1)
    tensors = preprocess_batches([picture(), np.zeros_like(picture())], interface.input)
    assert [tensor.shape for tensor in tensors] == [(3, SIZE, SIZE, 3)] * 2
    assert runner.infer(tensors[1])["detection_scores"].max(axis=1).tolist() == pytest.approx([0, 0.8, 0])


def swap_names(interface: Interface) -> Interface:
    names = {"detection_boxes": "detection_scores", "detection_scores": "detection_boxes"}
    outputs = tuple(replace(output, name=names.get(output.name, output.name)) for output in interface.outputs)
    return replace(interface, outputs=outputs)


MISMATCHES: dict[str, tuple[Interface, list[str]]] = {
    "input_name": (replace(INTERFACE, input=replace(INTERFACE.input, name="picture")), ["inputs", "image", "picture"]),
    "input_shape": (replace(INTERFACE, input=replace(INTERFACE.input, shape=(1, 9, 9, 3))), ["(1, 9, 9, 3)"]),
    "input_dtype": (replace(INTERFACE, input=replace(INTERFACE.input, dtype="uint8")), ["float32", "uint8"]),
    "swapped_names": (swap_names(INTERFACE), ["'detection_boxes': ((1, 4, 4)", "'detection_boxes': ((1, 4)"]),
    "with_masks": (
        replace(tiny_interface("maskrcnn_tiny"), raw_outputs=()),
        ["outputs", "expected", "'detection_masks': ((1, 4, 4, 4), 'float32')"],
    ),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_a_file_that_is_not_its_interface_is_told(name: str, tmp_path: Path) -> None:
    interface, words = MISMATCHES[name]
    artifact = replace(build_ir(tmp_path), interface=interface)
    with pytest.raises(ArtifactError) as caught:
        open_runner(artifact, num_threads=1)
    assert str(artifact.path) in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value


BROKEN: dict[str, tuple[Callable[[Path], None], type[Exception], str]] = {
    "no_weights": (lambda folder: (folder / "model.bin").unlink(), ArtifactError, r"model\.bin: no such file"),
    "short_weights": (
        lambda folder: (folder / "model.bin").write_bytes(b"1234"),  # type: ignore[dict-item]
        InferenceError,
        r"cannot read model\.xml",
    ),
    "half_a_graph": (
        lambda folder: (folder / "model.xml").write_text((folder / "model.xml").read_text()[:400]),  # type: ignore[dict-item]
        InferenceError,
        r"cannot read model\.xml",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_ir_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    spoil, error, says = BROKEN[name]
    artifact = build_ir(tmp_path)
    spoil(tmp_path)
    with pytest.raises(error, match=says) as caught:
        open_runner(artifact, num_threads=1)
    assert "\n" not in str(caught.value)
