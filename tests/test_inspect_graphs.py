"""`python -m stages.inspect` on TensorFlow's graphs, and the entry that it drafts for one."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.core.base.errors import UserError
from stages.core.inspecting.draft import draft_params
from stages.core.inspecting.inspect import inspect_model
from stages.core.params.brought import BroughtModel
from tests.frozen_builder import write_frozen_detector

pytestmark = pytest.mark.slow

SAMPLES = Path(os.environ.get("DETECTION_SAMPLES", "nowhere")) / "tfod"
needs_samples = pytest.mark.skipif("DETECTION_SAMPLES" not in os.environ, reason="DETECTION_SAMPLES is not set")


def save(folder: Path, *, signature: bool = True) -> Path:
    """A SavedModel that crops by boxes, as Mask R-CNNs do."""
    import tensorflow as tf

    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([1, 32, 32, 3], tf.float32, name="image")])
    def crop(image: Any) -> dict[str, Any]:
        return {"crops": tf.image.crop_and_resize(image, tf.constant([[0.0, 0.0, 1.0, 1.0]]), [0], [4, 4])}

    module.crop = crop
    tf.saved_model.save(module, str(folder), signatures={"serving_default": crop} if signature else {})
    return folder


def test_a_saved_model_is_read_without_tensorflow(tmp_path: Path) -> None:
    found = inspect_model(save(tmp_path / "it"))
    (signature,) = found.signatures
    assert [(tensor.name, tensor.shape, tensor.dtype) for tensor in signature.inputs] == [
        ("image", (1, 32, 32, 3), "float32")
    ]
    assert [(tensor.name, tensor.shape) for tensor in signature.outputs] == [("crops", (1, 4, 4, 3))]
    assert found.counts["CropAndResize"] >= 1
    (obstacle,) = found.obstacles
    assert (obstacle.target, "docs/substitutions.md" in obstacle.advice) == ("TFLite builtins", True)


def test_a_saved_model_without_signature_says_so(tmp_path: Path) -> None:
    assert "no signature" in inspect_model(save(tmp_path / "it", signature=False)).notes[0]


@pytest.mark.parametrize("fake_quant", [False, True])
def test_the_draft_of_a_frozen_graph_is_an_entry(tmp_path: Path, fake_quant: bool) -> None:
    path = tmp_path / "some-graph.pb"
    write_frozen_detector(path, fake_quant=fake_quant)
    found = inspect_model(path)
    assert ("fake-quant" in found.numbers) == fake_quant
    assert [tensor.name for tensor in found.signatures[0].inputs] == ["image_tensor"]
    text = draft_params(found)
    model = BroughtModel.model_validate(yaml.safe_load(text)["brought"]["some_graph"])
    assert model.input.name == "Preprocessor/sub"
    assert text.count("# guessed: check it") == 5


def test_a_frozen_graph_with_other_names_has_no_draft(tmp_path: Path) -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        tf.nn.relu(tf.compat.v1.placeholder(tf.float32, [1, 4], name="x"), name="y")
    (tmp_path / "it.pb").write_bytes(graph.as_graph_def().SerializeToString())
    found = inspect_model(tmp_path / "it.pb")
    assert [tensor.name for tensor in found.signatures[0].outputs] == ["y"]
    with pytest.raises(UserError, match="none of the tensor names of the Object Detection API"):
        draft_params(found)


def test_a_graph_that_computes_nothing_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        tf.constant(1.0)
        tf.constant(2.0)
    (tmp_path / "it.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(UserError, match="computes nothing"):
        inspect_model(tmp_path / "it.pb")


def test_a_damaged_graph_is_one_clear_line(tmp_path: Path) -> None:
    write_frozen_detector(tmp_path / "whole.pb")
    content = (tmp_path / "whole.pb").read_bytes()
    (tmp_path / "half.pb").write_bytes(content[: len(content) // 2 + 3])
    with pytest.raises(UserError, match="truncated or damaged GraphDef"):
        inspect_model(tmp_path / "half.pb")


class Held:
    """What a pickle gives back."""


@pytest.mark.parametrize("name", ["it.keras", "it.h5"])
def test_a_lambda_layer_is_run_if_it_is_trusted(tmp_path: Path, name: str) -> None:
    import keras

    image = keras.Input((8, 8, 3), name="image")
    value = keras.layers.Lambda(lambda x: x * 2.0, output_shape=(8, 8, 3), name="twice")(image)
    keras.Model(image, keras.layers.Conv2D(2, 3)(value)).save(tmp_path / name)
    with pytest.raises(UserError, match="1 Lambda layers"):
        inspect_model(tmp_path / name)
    found = inspect_model(tmp_path / name, trust=True)
    assert found.counts["Conv2D"] >= 1
    assert found.counts["Mul"] >= 1
    assert "its own code was run" in found.notes[0]


def test_a_trusted_pickle_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "it.pkl").write_bytes(pickle.dumps(Held()))
    with pytest.raises(UserError, match=r"holds a .*Held, expected a Keras model"):
        inspect_model(tmp_path / "it.pkl", trust=True)


@needs_samples
def test_a_real_graph_and_a_meta_graph() -> None:
    found = inspect_model(SAMPLES / "frozen" / "ssdlite_mobilenetv2_pedestrian_frozen_inference_graph.pb")
    assert "name: Preprocessor/sub" in draft_params(found)
    assert {row.target for row in found.obstacles} == {"TFLite builtins", "OpenVINO"}
    assert any("raw_heads" in row.advice for row in found.obstacles)
    with pytest.raises(UserError, match="a graph without weights; freeze it"):
        inspect_model(SAMPLES / "graphs" / "ssdlite_mobiledet_edgetpu_fp32.meta")
