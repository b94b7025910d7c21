"""Published SSDLite detectors in our rows: heads and detections, with random and with real weights."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from stages.core.detectors.build import build_model
from stages.core.detectors.tf1_names import ssdlite_tf1_names
from stages.core.detectors.variables import list_detector_variables
from stages.core.exporting.graph import PostProcessingSettings
from stages.core.exporting.ssdlite import build_ssdlite_graph
from stages.core.tables.detectors import DETECTORS
from stages.core.training.initializing.load import load_weights
from tests import checkpoint_builder as build
from tests.experiment_builder import experiment
from tests.tf1_files import FROZEN, SAMPLES, needs_samples, read_frozen, run_frozen

pytestmark = pytest.mark.slow

COCO = 91
NETWORK_INPUT = "Preprocessor/map/TensorArrayStack/TensorArrayGatherV3:0"


@cache
def detector(row: str, classes: int, side: int) -> tuple[Any, Any]:
    """(configuration, model) with so many class outputs, background's included; written over by every test."""
    config = experiment(row, input_size=[side, side])
    config.task.model.num_classes = classes
    return config, build_model(config)


def tf1_values(row: str, model: Any, ours: int, stored: int) -> dict[str, np.ndarray]:
    """Random weights under the TF1 names of a model, with another number of class outputs."""
    names, variables = ssdlite_tf1_names(model, DETECTORS[row].backbone), list_detector_variables(model)
    shapes = {names[path]: tuple(variable.shape) for path, variable in variables.items()}
    for name, shape in shapes.items():
        if "/ClassPredictor/" in name:
            shapes[name] = (*shape[:-1], shape[-1] // ours * stored)
    return build.random_values(shapes)


def run_heads(model: Any, classes: int, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Box encodings [A, 4] and class logits [A, C], levels one after the other, of one image."""
    logits, codes, _ = model.head(model.decoder(model.backbone(pixels, training=False), training=False))
    boxes = [tf.reshape(codes[level], [-1, 4]) for level in sorted(codes, key=int)]
    scores = [tf.reshape(logits[level], [-1, classes]) for level in sorted(logits, key=int)]
    return tf.concat(boxes, 0).numpy(), tf.concat(scores, 0).numpy()


def run_meta_graph(path: Path, values: dict[str, np.ndarray], pixels: np.ndarray) -> list[np.ndarray]:
    """Box encodings and class logits of the API's own graph with these weights."""
    meta = meta_graph_pb2.MetaGraphDef.FromString(path.read_bytes())
    variables = {node.name for node in meta.graph_def.node if node.op == "VariableV2"}
    assert variables == {*values, "global_step"}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(meta.graph_def, name="")
        feed = {f"{name}/read:0": value for name, value in values.items()}
        return list(session.run(["Squeeze:0", "concat_1:0"], {**feed, NETWORK_INPUT: pixels}))


@needs_samples
def test_heads_are_those_of_the_apis_graph(tmp_path: Path) -> None:
    row = "ssdlite_mobiledet_edgetpu"
    _, model = detector(row, COCO, 320)
    values = tf1_values(row, model, COCO, COCO)
    prefix = build.write_tf1(tmp_path / "model.ckpt", {**values, "global_step": np.int64(1)})
    init = build.open_checkpoint(prefix, tmp_path)
    record = load_weights(
        model, DETECTORS[row], init, "all", dict.fromkeys(range(1, COCO), "") | {1: "person", 90: "brush"}
    )
    assert {part.part: (part.loaded, part.variables) for part in record.parts} == {
        "backbone": (285, 285), "extra maps": (60, 60), "head (class)": (42, 42), "head (box)": (42, 42)
    }  # fmt: skip
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 320, 320, 3)).astype(np.float32)
    wanted = run_meta_graph(SAMPLES / "graphs" / "ssdlite_mobiledet_edgetpu_fp32.meta", values, pixels)
    for found, expected in zip(run_heads(model, COCO, pixels), wanted, strict=True):
        np.testing.assert_allclose(found, expected[0], rtol=0, atol=1e-4 * np.abs(expected).max())


def test_rows_of_classes_in_common_are_carried_over(tmp_path: Path) -> None:
    row = "ssdlite_tiny"
    _, model = detector(row, 4, 64)
    values = tf1_values(row, model, 4, COCO)
    prefix = build.write_tf1(tmp_path / "model.ckpt", values)
    before = {path: variable.numpy() for path, variable in list_detector_variables(model).items()}
    init = build.open_checkpoint(prefix, tmp_path, {1: "Person", 3: "car", 90: "toothbrush"})
    record = load_weights(model, DETECTORS[row], init, "all", {1: "red", 2: "person", 3: "car"})
    assert (record.classes, record.class_names_from, record.missing) == (("person", "car"), "init_labels", {})
    names, variables = ssdlite_tf1_names(model, DETECTORS[row].backbone), list_detector_variables(model)
    for index, anchors in enumerate((3, 6, 6, 6, 6, 6)):
        for leaf in ("kernel", "bias"):
            path = f"head/_classifier/{index}/{leaf}"
            stored = values[names[path]]
            stored = stored.reshape(*stored.shape[:-1], anchors, COCO)
            shape = (*stored.shape[:-1], 4)
            found, fresh = variables[path].numpy().reshape(shape), before[path].reshape(shape)
            np.testing.assert_array_equal(found[..., [0, 2, 3]], stored[..., [0, 1, 3]])
            np.testing.assert_array_equal(found[..., 1], fresh[..., 1])


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (None, "here; set init_labels to carry classes over by name"),
        (["cat", "dog"], "here: other anchors, or not 3 classes with background"),
    ],
    ids=["nobody says", "said wrong"],
)
def test_a_class_head_without_known_names_stays_as_it_is(labels: Any, says: str, tmp_path: Path) -> None:
    row = "ssdlite_tiny"
    _, model = detector(row, 4, 64)
    prefix = build.write_tf1(tmp_path / "model.ckpt", tf1_values(row, model, 4, COCO))
    before = {path: variable.numpy() for path, variable in list_detector_variables(model).items()}
    record = load_weights(model, DETECTORS[row], build.open_checkpoint(prefix, tmp_path, labels), "all", build.LABELS)
    assert len(record.missing) == 12  # kernel and bias of six maps
    assert all(path.startswith("head/_classifier/") and why.endswith(says) for path, why in record.missing.items())
    assert all(np.array_equal(before[path], list_detector_variables(model)[path]) for path in record.missing)


def pictures(side: int) -> list[np.ndarray]:
    """Ten photos of the sample data, of the network's size: uint8 [side, side, 3]."""
    found = []
    for record in tf.data.TFRecordDataset(str(SAMPLES / "records" / "pets_examples.record")).take(10):
        example = tf.train.Example.FromString(record.numpy())
        encoded = example.features.feature["image/encoded"].bytes_list.value[0]
        image = tf.image.resize(tf.io.decode_image(encoded, channels=3, expand_animations=False), [side, side])
        found.append(tf.cast(tf.round(image), tf.uint8).numpy())
    assert len(found) == 10
    return found


@needs_samples
def test_a_published_person_detector_detects_the_same(tmp_path: Path) -> None:
    row = "ssdlite_mobilenetv2"
    config, model = detector(row, 2, 300)
    init = build.open_checkpoint(FROZEN, tmp_path, ["person"])
    record = load_weights(model, DETECTORS[row], init, "all", {1: "person"})
    assert (record.kind, record.classes, record.missing, record.notes) == ("TF1 frozen graph", ("person",), {}, ())
    settings = PostProcessingSettings(
        max_detections=100,
        num_proposals=1,
        score_threshold=1e-8,
        nms_iou_threshold=0.6,
        pre_nms_top_k=5000,
        class_agnostic_nms=False,
    )
    config.task.model.detection_generator.pre_nms_top_k = 5000
    graph = build_ssdlite_graph(config.task.model, model, settings)
    api = read_frozen()
    outputs = ["Squeeze:0", "Postprocessor/convert_scores:0", "detection_boxes:0", "detection_scores:0"]
    compared = 0
    for picture in pictures(300):
        boxes, scores, detected, confidences = run_frozen(api, outputs, {"image_tensor:0": picture[None]})
        pixels = tf.constant(picture[None], tf.float32)
        raw, found = graph.raw_heads(pixels), graph.detect(pixels)
        np.testing.assert_allclose(raw["raw_scores"], scores, atol=1e-3)
        np.testing.assert_allclose(raw["raw_boxes"], boxes, atol=1e-3 * np.abs(boxes).max())
        clear = confidences[0] >= 0.003  # photos of animals: a person detector is seldom sure
        np.testing.assert_allclose(
            found["detection_scores"][0].numpy()[: clear.sum()], confidences[0][clear], atol=1e-3
        )
        in_pixels = np.clip(np.asarray(found["detection_boxes"][0])[: clear.sum()], 0, 1) * 300  # the API clips
        np.testing.assert_allclose(in_pixels, detected[0][clear] * 300, atol=0.5)
        compared += clear.sum()
    assert compared > 100
