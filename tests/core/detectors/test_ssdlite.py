"""SSDLite is the published network: anchors, names and shapes of variables, and what it computes with real weights."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stages.core.detectors.anchors import level_anchors
from stages.core.detectors.backbone_model import build_backbone_model
from stages.core.detectors.build import build_model
from stages.core.detectors.tf1_names import backbone_tf1_names, ssdlite_tf1_names
from stages.core.detectors.variables import list_detector_variables, list_variables
from stages.core.tables.detectors import DETECTORS
from tests.experiment_builder import experiment
from tests.tf1_files import (
    FROZEN_INPUT,
    LISTINGS,
    frozen_weights,
    listed_shapes,
    mapped_names,
    needs_samples,
    read_frozen,
    run_frozen,
)

pytestmark = pytest.mark.slow

Shapes = dict[str, tuple[int, ...]]


@cache
def build(model: str, classes: int, size: int) -> tuple[Any, Any]:
    """(configuration, model) with so many class outputs, the background's included."""
    config = experiment(model, input_size=[size, size])
    config.task.model.num_classes = classes
    return config, build_model(config)


def shapes_by_tf1_name(model: Any, model_id: str) -> Shapes:
    names, variables = ssdlite_tf1_names(model, model_id), list_detector_variables(model)
    assert names.keys() == variables.keys()
    return {names[path]: tuple(variable.shape) for path, variable in variables.items()}


def test_anchors_are_laid_as_published() -> None:
    config = experiment("ssdlite_mobiledet_cpu", input_size=[320, 320]).task.model
    anchors = level_anchors(config, (320, 320))
    assert {level: len(boxes) for level, boxes in anchors.items()} == {
        "4": 1200, "5": 600, "6": 150, "7": 54, "8": 24, "9": 6
    }  # fmt: skip
    # The first cell's centre is at 8 pixels; its boxes are 0.1, 0.2 at 2:1 and 0.2 at 1:2 of the side.
    half = 32 * 2**0.5
    expected = [[-8, -8, 24, 24], [8 - half / 2, 8 - half, 8 + half / 2, 8 + half]]
    np.testing.assert_allclose(anchors["4"][:2], expected, rtol=1e-5)
    np.testing.assert_allclose(anchors["4"][2], np.asarray(expected[1])[[1, 0, 3, 2]], rtol=1e-5)
    # The last map is one cell: 0.95 at all shapes, then the geometric mean of 0.95 and 1.
    np.testing.assert_allclose(anchors["9"][0], [8, 8, 312, 312], rtol=1e-5)
    np.testing.assert_allclose(np.diff(anchors["9"][5])[0], 0, atol=1e-3)
    np.testing.assert_allclose(anchors["9"][5, 2] - anchors["9"][5, 0], 320 * 0.95**0.5, rtol=1e-5)


def test_anchors_of_an_oblong_input_stay_square() -> None:
    config = experiment("ssdlite_tiny", input_size=[64, 160]).task.model
    anchors = level_anchors(config, (64, 160))
    assert len(anchors["4"]) == 4 * 10 * 3
    assert len(anchors["7"]) == 1 * 2 * 6
    first = anchors["5"][0]
    np.testing.assert_allclose([first[2] - first[0], first[3] - first[1]], 64 * 0.35, rtol=1e-5)


def test_parameters_reach_the_anchors() -> None:
    changes = {"min_scale": 0.1, "aspect_ratios": [1.0, 2.0], "between_scales": False, "fewer_on_first_map": False}
    config = experiment("ssdlite_tiny", input_size=[64, 64], ssd_anchors=changes)
    model = build_model(config)
    assert len(level_anchors(config.task.model, (64, 64))["4"]) == 4 * 4 * 2
    assert model.anchor_boxes["4"].shape == (4, 4, 2 * 4)
    assert model.head(model.decoder.output)[1]["9"].shape[-1] == 2 * 4


@needs_samples
@pytest.mark.parametrize("model", LISTINGS)
def test_every_variable_is_in_the_published_checkpoint(model: str) -> None:
    found = shapes_by_tf1_name(build(model, 91, 320)[1], DETECTORS[model].backbone)
    assert found == listed_shapes(model)
    extra = [name for name in found if "/C5_" in name]
    predictors = [name for name in found if name.startswith("BoxPredictor_")]
    backbone = {"ssdlite_mobiledet_cpu": 361, "ssdlite_mobiledet_edgetpu": 285}[model]
    assert (len(found) - len(extra) - len(predictors), len(extra), len(predictors)) == (backbone, 60, 84)


@needs_samples
@pytest.mark.parametrize(
    "model", ["retinanet_mobiledet_cpu", "retinanet_mobiledet_dsp", "retinanet_mobiledet_gpu", "maskrcnn_mobiledet"]
)
def test_backbones_of_all_detectors_have_the_same_names(model: str) -> None:
    model_id = DETECTORS[model].backbone
    backbone = build_backbone_model(experiment(model, input_size=[64, 64]).task.model)
    names, variables = backbone_tf1_names(backbone, model_id), list_variables(backbone, "backbone")
    assert {path: (names[path], tuple(variables[path].shape)) for path in variables} == mapped_names(model_id)


@needs_samples
def test_a_trained_graph_of_the_api_computes_the_same() -> None:
    graph = read_frozen()
    weights = frozen_weights(graph)
    config, model = build("ssdlite_mobilenetv2", 2, 300)
    names = ssdlite_tf1_names(model, "MobileNetV2")
    assert shapes_by_tf1_name(model, "MobileNetV2") == {name: values.shape for name, values in weights.items()}
    for path, variable in list_detector_variables(model).items():
        variable.assign(weights[names[path]])

    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 300, 300, 3)).astype(np.float32)
    boxes, scores, anchors = run_frozen(
        graph,
        ["Squeeze:0", "concat_1:0", "Concatenate/concat:0"],
        {FROZEN_INPUT: pixels, "image_tensor:0": np.zeros(pixels.shape)},
    )
    logits, codes, _ = model.head(model.decoder(model.backbone(pixels, training=False), training=False))
    flat = {name: tf.concat([tf.reshape(level, [-1, size]) for level in found.values()], 0).numpy()
            for name, found, size in (("boxes", codes, 4), ("scores", logits, 2))}  # fmt: skip
    for name, expected in (("boxes", boxes[0]), ("scores", scores[0])):
        np.testing.assert_allclose(flat[name], expected, atol=1e-4 * np.abs(expected).max())
    ours = np.concatenate(list(level_anchors(config.task.model, (300, 300)).values()))
    assert len(ours) == 1917
    np.testing.assert_allclose(ours / 300, anchors, atol=1e-5)
