"""A Mask R-CNN as TF-Vision's own export code saves it, from uint8 pixels of any size to masks, as a row."""

from pathlib import Path

import numpy as np
import pytest

from stages.core.base.layout import Layout
from stages.core.processing.decode import outputs_to_detections
from stages.core.processing.preprocess import place_image
from stages.core.referencing.finished import load_finished
from stages.core.results.brought import read_brought_facts
from stages.core.results.interface import read_interface
from stages.core.results.kinds import Backend
from tests.brought_project import call, write_brought_project
from tests.exported_project import SIZE, random_model

pytestmark = pytest.mark.slow

OUTPUTS = {
    "boxes": "detection_boxes",
    "scores": "detection_scores",
    "classes": "detection_classes",
    "num_detections": "num_detections",
    "masks": "detection_masks",
}


def save_as_tf_vision(folder: Path) -> None:
    """Its pre-processing is a map over the images, its suppression an op that neither TFLite nor OpenVINO has."""
    import tensorflow as tf
    from official.vision.serving.detection import DetectionModule

    config, model = random_model(
        "maskrcnn_tiny",
        detection_generator={"nms_version": "batched", "pre_nms_top_k": 100, "max_num_detections": 30},
        roi_generator={"test_pre_nms_top_k": 60, "test_num_proposals": 40},
    )
    module = DetectionModule(
        params=config, model=model, batch_size=1, input_image_size=[SIZE, SIZE], input_type="image_tensor"
    )
    signatures = module.get_inference_signatures({"image_tensor": "serving_default"})
    kept = tf.Module()
    kept.variables_of_model, kept.functions = model.variables, list(signatures.values())
    tf.saved_model.save(kept, str(folder), signatures=signatures)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    root = tmp_path_factory.mktemp("vision")
    entry = {
        "kind": "saved_model",
        "path": "models/brought/it",
        "layout": "model_garden",
        "input": {"name": "inputs", "size": [SIZE, SIZE], "mean": 0, "deviation": 1},
        "outputs": OUTPUTS,
        "labels": ["circle", "square", "triangle"],
    }
    layout = write_brought_project(root, {"it": entry})
    save_as_tf_vision(root / "models" / "brought" / "it")
    call(layout, "export", "it")
    return layout


def test_litert_finds_what_the_saved_model_finds(project: Layout) -> None:
    import tensorflow as tf

    folder = project.exported("it", "trained")
    interface, facts = read_interface(folder), read_brought_facts(folder)
    assert facts is not None
    assert {"CombinedNonMaxSuppression", "While", "GatherV2 (batched)"} <= {row.op for row in facts.substitutions}
    assert (interface.box_format, interface.class_map, interface.task) == ("yxyx_pixels", (0, 1, 2, 3), "segmentation")
    original = tf.saved_model.load(str(project.root / "models" / "brought" / "it")).signatures["serving_default"]
    ours = load_finished(folder / "model.tflite", Backend.TFLITE, interface)
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3)).astype(np.uint8)
    wanted = {key: value.numpy() for key, value in original(inputs=tf.constant(pixels)).items()}
    placement = place_image((SIZE, SIZE), interface.input)
    found, expected = (
        outputs_to_detections(outputs, interface, placement) for outputs in (ours(pixels.astype(np.float32))[0], wanted)
    )
    assert len(expected) > 20
    np.testing.assert_array_equal(found.classes, expected.classes)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=0.05)
    assert found.masks is not None
    assert expected.masks is not None
    np.testing.assert_allclose(found.masks, expected.masks, atol=1e-3)
