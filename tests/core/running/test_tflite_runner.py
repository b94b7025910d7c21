"""Hand-made .tflite files in LiteRT, in this process and in one of their own."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.core.base.errors import ArtifactError, InferenceError
from stages.core.results.interface import Interface
from stages.core.results.kinds import Backend
from stages.core.running import isolated
from stages.core.running.isolated import IsolatedRunner
from stages.core.running.open import RUNNERS, open_runner
from stages.core.running.raw_heads import find_raw_heads
from stages.core.running.tflite import DELEGATE, count_undelegated
from tests.tflite_builder import SIZE, build_crasher, build_detector, build_refused, build_segmenter
from tests.tiny_project import MODELS, tiny_interface, write_artifact


def picture() -> np.ndarray:
    """Red at the top left, a darker blue at the bottom right."""
    image = np.zeros((2 * SIZE, 2 * SIZE, 3), np.uint8)
    image[:SIZE, :SIZE, 0], image[SIZE:, SIZE:, 2] = 204, 102
    return image


def test_every_backend_has_a_runner() -> None:
    assert set(RUNNERS) == set(Backend)


@pytest.mark.parametrize("model", MODELS)
def test_it_sees_what_is_in_the_picture(model: str, tmp_path: Path) -> None:
    runner = open_runner(write_artifact(tmp_path, MODELS[model](), tiny_interface(model)), num_threads=2)

    found = runner.run(picture())

    assert found.classes.tolist() == [1, 3]
    np.testing.assert_allclose(found.scores, [0.8, 0.4], rtol=1e-6)
    np.testing.assert_allclose(found.boxes_xyxy, [[0, 0, 8, 8], [8, 8, 16, 16]])
    assert (found.masks is not None) == (model == "maskrcnn_tiny")
    assert runner.runtime.startswith("ai-edge-litert ")
    assert runner.delegate == "XNNPACK"


def test_raw_outputs_are_the_inputs_of_the_post_processing_op(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path, build_detector(), tiny_interface("retinanet_mobiledet_tiny"))
    runner = open_runner(artifact, num_threads=1, keep_raw=True)

    runner.run(picture())

    raw = runner.raw_outputs
    assert list(raw) == ["raw_boxes", "raw_scores"]
    assert not raw["raw_boxes"].any()
    np.testing.assert_allclose(raw["raw_scores"][0], [[0.8, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0.4]], rtol=1e-6)
    heads = find_raw_heads(artifact.path, 2)
    assert (len(set(heads.tensor_indices)), heads.op_is_last) == (2, True)


def test_raw_outputs_are_not_kept_unless_asked_for(tmp_path: Path) -> None:
    runner = open_runner(
        write_artifact(tmp_path, build_detector(), tiny_interface("retinanet_mobiledet_tiny")), num_threads=1
    )
    runner.run(picture())
    assert runner.raw_outputs == {}


def with_output(interface: Interface, index: int, **changes: Any) -> Interface:
    outputs = list(interface.outputs)
    outputs[index] = replace(outputs[index], **changes)
    return replace(interface, outputs=tuple(outputs))


BASE = tiny_interface("retinanet_mobiledet_tiny")
MISMATCHES = {
    "signature": (replace(BASE, signature="other"), ["'serving_default'", "'other'"]),
    "input_name": (replace(BASE, input=replace(BASE.input, name="picture")), ["'image'", "'picture'"]),
    "input_shape": (replace(BASE, input=replace(BASE.input, shape=(1, 9, 9, 3))), ["8", "9"]),
    "input_dtype": (replace(BASE, input=replace(BASE.input, dtype="uint8")), ["float32", "uint8"]),
    "output_name": (with_output(BASE, 0, name="boxes"), ["'detection_boxes'", "'boxes'"]),
    "output_shape": (with_output(BASE, 0, shape=(1, 9, 4)), ["(1, 4, 4)", "(1, 9, 4)"]),
    "output_dtype": (with_output(BASE, 0, dtype="int8"), ["float32", "int8"]),
    "one_output_less": (replace(BASE, outputs=BASE.outputs[:3]), ["num_detections"]),
    "raw_shape": (
        replace(BASE, raw_outputs=(replace(BASE.raw_outputs[0], shape=(1, 2, 2)),)),
        ["raw_boxes", "(1, 2, 2)"],
    ),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_a_file_that_is_not_its_interface_is_told(name: str, tmp_path: Path) -> None:
    interface, words = MISMATCHES[name]
    artifact = write_artifact(tmp_path, build_detector(), interface)

    with pytest.raises(ArtifactError) as caught:
        open_runner(artifact, num_threads=1, keep_raw=True)

    assert str(artifact.path) in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value


def test_raw_outputs_without_the_op_are_told(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path, build_segmenter(), BASE)

    with pytest.raises(ArtifactError, match="0 ops TFLite_Detection_PostProcess, expected 1"):
        open_runner(artifact, num_threads=1, keep_raw=True)


def test_a_refused_file_is_an_inference_error(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path, build_refused(), tiny_interface("maskrcnn_tiny"))

    with pytest.raises(InferenceError, match=r"refuses model\.tflite: .*stride_height > 0"):
        open_runner(artifact, num_threads=1)


def test_isolated_gives_the_same_as_here(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path, build_detector(), BASE)
    here = open_runner(artifact, num_threads=1, keep_raw=True)

    with IsolatedRunner(artifact, num_threads=1, keep_raw=True) as there:
        for image in (picture(), picture()[:, ::-1]):
            one, other = here.run(image), there.run(image)
            np.testing.assert_array_equal(one.boxes_xyxy, other.boxes_xyxy)
            np.testing.assert_array_equal(one.scores, other.scores)
            np.testing.assert_array_equal(here.raw_outputs["raw_scores"], there.raw_outputs["raw_scores"])
            assert there.outputs.keys() == here.outputs.keys()
        assert (there.runtime, there.delegate) == (here.runtime, here.delegate)


def test_a_crash_takes_only_its_own_process_down(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path, build_crasher(), BASE)

    with (
        pytest.raises(InferenceError, match=r"crashed \(SIGSEGV\) while opening the file"),
        IsolatedRunner(artifact, num_threads=1),
    ):
        pass


def die_on_the_second_image(connection: Any, *arguments: Any) -> None:
    """Stands for a runtime that aborts in the middle of a split."""
    connection.send(isolated._Ready("runtime", "none"))
    connection.recv()
    connection.send(isolated._Answer("fine", {}, {}))  # type: ignore[arg-type]
    connection.recv()
    os.abort()


def never_answer(connection: Any, *arguments: Any) -> None:
    time.sleep(60)


def stumble_over_a_bug(connection: Any, *arguments: Any) -> None:
    raise KeyError(connection and "a bug")


def test_a_crash_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "_serve", die_on_the_second_image)
    with IsolatedRunner(write_artifact(tmp_path, build_detector(), BASE), num_threads=1) as runner:
        assert runner.run(picture()) == "fine"
        with pytest.raises(InferenceError, match=r"crashed \(SIGABRT\) while running an image"):
            runner.run(picture())


def test_no_answer_is_an_inference_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "_serve", never_answer)
    artifact = write_artifact(tmp_path, build_detector(), BASE)

    with (
        pytest.raises(InferenceError, match="no answer within 2 s while opening the file"),
        IsolatedRunner(artifact, num_threads=1, timeout_s=2),
    ):
        pass


def test_a_bug_stays_a_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "_serve", stumble_over_a_bug)
    artifact = write_artifact(tmp_path, build_detector(), BASE)

    with pytest.raises(KeyError, match="a bug"), IsolatedRunner(artifact, num_threads=1):
        pass


def node(kind: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    """One line of what the interpreter tells of its plan."""
    return {"op_name": kind, "inputs": np.asarray(inputs), "outputs": np.asarray(outputs)}


def test_ops_between_a_partitions_borders_are_the_delegates() -> None:
    ops = [
        node("CONV_2D", [0, 1], [2]),
        node("CONV_2D", [2, 1], [3]),
        node("HARD_SWISH", [3], [4]),
        node("ADD", [4, 3], [5]),
        node("RESHAPE", [5], [6]),
        node("HARD_SWISH", [4], [7]),
        node(DELEGATE, [0], [3]),
        node(DELEGATE, [4, 3], [6]),
    ]
    assert count_undelegated(ops) == {"HARD_SWISH": 2}


def test_without_a_delegate_every_op_is_left() -> None:
    ops = [node("CONV_2D", [0, 1], [2]), node("ADD", [2, 2], [3]), node("ADD", [3, 3], [4])]
    assert count_undelegated(ops) == {"ADD": 2, "CONV_2D": 1}


def test_what_lies_behind_a_border_is_not_the_delegates() -> None:
    """The walk from a partition's outputs stops at its inputs, also where these are computed."""
    ops = [
        node("CUSTOM", [0], [1]),
        node("MUL", [1], [2]),
        node("ADD", [2, 1, 9], [3]),
        node(DELEGATE, [1, 9], [3]),
    ]
    assert count_undelegated(ops) == {"CUSTOM": 1}
    assert count_undelegated([]) == {}


def test_an_optional_input_is_no_op() -> None:
    ops = [node("CONV_2D", [0, 1, -1], [2]), node(DELEGATE, [0], [2])]
    assert count_undelegated(ops) == {}


@pytest.mark.parametrize(
    ("model", "slow"),
    [("retinanet_mobiledet_tiny", {"TFLite_Detection_PostProcess"}), ("maskrcnn_tiny", {"ARG_MAX", "CAST"})],
)
def test_slow_ops_of_a_file(model: str, slow: set[str], tmp_path: Path) -> None:
    runner = open_runner(write_artifact(tmp_path, MODELS[model](), tiny_interface(model)), num_threads=1)
    assert slow <= set(runner.slow_ops)
    assert not {"AVERAGE_POOL_2D", "MUL", DELEGATE} & set(runner.slow_ops)
