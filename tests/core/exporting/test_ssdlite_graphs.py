"""SSDLite's graphs: what Model Garden's model computes, and in int8 the ops of the files that are published."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.vision.ops import box_ops

from stages.core.converting.recipes import RecipeInput, make_file
from stages.core.detectors.anchors import level_anchors
from stages.core.exporting.graph import DeploymentGraph, PostProcessingSettings, normalize_pixels
from stages.core.exporting.retinanet import RAW_BOXES, RAW_SCORES
from stages.core.exporting.ssdlite import build_ssdlite_graph
from stages.core.exporting.tflite import convert_functions
from stages.core.graphs.flatbuffer import read_graph
from stages.core.params.steps import ExportParams
from stages.core.quantizing.model import put_weights_on_grid, quantize_model
from stages.core.results.interface import SIGNATURE, ImageInput
from stages.core.tables.detectors import SIGNED
from stages.core.tables.schemes import SCHEMES
from tests.exported_project import SIZE, random_model
from tests.quantized_model import observe
from tests.run_graph import run_graph

pytestmark = pytest.mark.slow

SETTINGS = PostProcessingSettings(**ExportParams(max_detections=20, score_threshold=0.0).model_dump())
CODER = [10.0, 10.0, 5.0, 5.0]
PUBLISHED_OPS = {
    "CONV_2D": 66,
    "DEPTHWISE_CONV_2D": 27,
    "ADD": 15,
    "RESHAPE": 13,
    "CONCATENATION": 2,
    "LOGISTIC": 1,
    "TFLite_Detection_PostProcess": 1,
}
"""Of the published `ssdlite_mobiledet_edgetpu` trained for int8."""
AT_THE_BORDERS = {"SUB", "MUL", "QUANTIZE", "DEQUANTIZE"}
"""What ours has besides: pixels are scaled inside, and box arithmetic is float."""


def pixels(size: int, seed: int = 0) -> np.ndarray:
    return np.floor(np.random.default_rng(seed).uniform(0, 256, (1, size, size, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any, DeploymentGraph]:
    config, model = random_model("ssdlite_tiny")
    return config.task.model, model, build_ssdlite_graph(config.task.model, model, SETTINGS)


def test_raw_heads_are_the_models_own(tiny: tuple[Any, Any, DeploymentGraph]) -> None:
    config, model, graph = tiny
    image = pixels(SIZE)
    expected = model(normalize_pixels(image, SIGNED), image_shape=tf.constant([[SIZE, SIZE]], tf.float32))
    raw = run_graph(graph, image)[1]
    for output, name, size in ((RAW_BOXES, "box_outputs", 4), (RAW_SCORES, "cls_outputs", config.num_classes)):
        rows = np.concatenate([np.reshape(expected[name][str(level)], (-1, size)) for level in config.levels])
        rows = tf.sigmoid(rows).numpy() if output == RAW_SCORES else rows
        np.testing.assert_allclose(raw[output][0], rows, atol=1e-4 * np.abs(rows).max())


def test_the_best_detection_is_decoded_with_the_coders_weights(tiny: tuple[Any, Any, DeploymentGraph]) -> None:
    config, _, graph = tiny
    found, raw = run_graph(graph, pixels(SIZE, seed=1))
    anchors = np.concatenate(list(level_anchors(config, (SIZE, SIZE)).values()))
    best = int(raw[RAW_SCORES][0, :, 1:].max(axis=1).argmax())
    expected = box_ops.decode_boxes(raw[RAW_BOXES][0, best : best + 1], anchors[best : best + 1], CODER)
    np.testing.assert_allclose(found["detection_boxes"][0, 0], expected[0] / SIZE, rtol=1e-4, atol=1e-5)


def test_an_int8_file_has_the_ops_of_the_published_one() -> None:
    """Random weights: ops depend on the architecture alone."""
    size, config, model = 320, *random_model("ssdlite_mobiledet_edgetpu", input_size=[320, 320, 3], num_classes=91)
    image = pixels(size)
    quantize_model(model)
    observe(model, normalize_pixels(tf.constant(image), SIGNED))
    put_weights_on_grid(model)
    graph = build_ssdlite_graph(config.task.model, model, SETTINGS)
    spec = ImageInput(name="image", shape=(1, size, size, 3), dtype="float32", pad_value=(128,) * 3, normalization="in")
    source = RecipeInput(content=convert_functions({SIGNATURE: graph.with_op}), images=(), spec=spec)
    file = make_file(source, SCHEMES["qat_int8_postprocess_op"])
    assert file.made.calibration_images == 0  # every range is from training
    ops = Counter(op.kind for op in read_graph(file.content, "int8").ops)
    assert {kind: count for kind, count in ops.items() if kind not in AT_THE_BORDERS} == PUBLISHED_OPS
    assert graph.raw_outputs[0].shape == (1, 2034, 4)
    assert graph.raw_outputs[1].shape == (1, 2034, 91)
