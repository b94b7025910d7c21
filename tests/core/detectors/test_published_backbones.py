"""Backbones are what published weights were trained with: pre-processing, epsilons, and a block that was wrong."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
import yaml
from official.vision.modeling.backbones.mobiledet import MobileDet
from official.vision.ops import preprocess_ops

from stages.core.base.errors import ArtifactError
from stages.core.detectors.backbone_model import build_backbone_model
from stages.core.detectors.build import build_model, read_experiment, write_experiment
from stages.core.exporting.graph import normalize_pixels, padding_color
from stages.core.tables.detectors import BACKBONES, DETECTORS, IMAGENET, SIGNED
from stages.core.training.tracing import traced_as
from tests.experiment_builder import experiment

pytestmark = pytest.mark.slow


def backbone_of(model: str) -> Any:
    return build_backbone_model(experiment(model, input_size=[64, 64]).task.model)


def test_every_backbone_has_facts() -> None:
    assert {row.backbone for row in DETECTORS.values()} == set(BACKBONES)
    assert DETECTORS["maskrcnn_resnet50"].pixels == IMAGENET
    assert all(row.pixels == SIGNED for name, row in DETECTORS.items() if "resnet" not in name)


def test_imagenets_numbers_are_model_gardens() -> None:
    assert pytest.approx(preprocess_ops.MEAN_RGB) == IMAGENET.mean
    assert pytest.approx(preprocess_ops.STDDEV_RGB) == IMAGENET.deviation


@pytest.mark.parametrize("model", ["retinanet_mobiledet_tiny", "maskrcnn_tiny", "retinanet_mobilenetv2"])
def test_epsilon_is_the_backbones_and_only_its(model: str) -> None:
    built = build_model(experiment(model, input_size=[64, 64], width=0.25))
    backbone = {
        layer.epsilon
        for layer in built.backbone._flatten_layers()
        if isinstance(layer, tf_keras.layers.BatchNormalization)
    }
    others = {layer.epsilon for part in (built.decoder, *heads(built)) for layer in norms_of(part)}
    assert backbone == {DETECTORS[model].norm_epsilon}
    assert others == {0.001}


@pytest.mark.parametrize("model", [name for name, row in DETECTORS.items() if row.tiny])
def test_tiny_rows_have_fewer_blocks_and_the_same_feature_maps(model: str) -> None:
    config = experiment(model, input_size=[64, 64]).task.model
    tiny = build_backbone_model(config)
    config.backbone_repeats = True
    whole = build_backbone_model(config)
    assert 2 * len(tiny.layers) < len(whole.layers)
    assert dict(tiny.output_specs) == dict(whole.output_specs)
    assert not any(experiment(name).task.model.backbone_repeats for name, row in DETECTORS.items() if row.tiny)
    assert all(experiment(name).task.model.backbone_repeats for name, row in DETECTORS.items() if not row.tiny)


def heads(model: Any) -> list[Any]:
    return [part for name, part in model.checkpoint_items.items() if "head" in name]


def norms_of(part: Any) -> list[Any]:
    layers = [layer for item in tf.nest.flatten(part) for layer in item._flatten_layers()]
    return [layer for layer in layers if isinstance(layer, tf_keras.layers.BatchNormalization)]


def test_the_dsp_backbone_adds_the_residual_that_model_garden_lacks() -> None:
    ours = backbone_of("retinanet_mobiledet_dsp")
    theirs = MobileDet(
        "MobileDetDSP", input_specs=tf_keras.layers.InputSpec(shape=[None, 64, 64, 3]), norm_epsilon=0.01
    )
    assert [weight.shape for weight in ours.weights] == [weight.shape for weight in theirs.weights]
    theirs.set_weights(ours.get_weights())
    pixels = tf.random.stateless_uniform([1, 64, 64, 3], [0, 1], -1, 1)
    found, without = ours(pixels), theirs(pixels)
    np.testing.assert_array_equal(found["4"], without["4"])
    # What the block adds is what it reads: the layers around it, run by hand.
    blocks = [layer for layer in ours.layers if layer.weights]
    value = found["4"]
    for index, block in enumerate(blocks[18:], start=18):
        result = block(value)
        if index == 20:
            result_without = [layer for layer in theirs.layers if layer.weights][20](value)
            np.testing.assert_allclose(result, result_without + value, atol=1e-5)
        value = result
    np.testing.assert_allclose(found["5"], value, atol=1e-4)
    assert np.abs(found["5"] - without["5"]).max() > 0


@pytest.mark.parametrize("model", ["retinanet_mobiledet_tiny", "maskrcnn_resnet50"])
def test_parsers_scale_pixels_as_the_exported_graph_does(model: str) -> None:
    task = experiment(model).task
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    with traced_as(task):
        parsed = preprocess_ops.normalize_image(tf.constant(pixels))
    exported = normalize_pixels(tf.constant(pixels, tf.float32), task.model.pixels)
    np.testing.assert_allclose(parsed, exported, atol=1e-5)
    padded = normalize_pixels(tf.constant([padding_color(task.model.pixels)], tf.float32), task.model.pixels)
    assert np.abs(padded).max() < 0.01


def test_an_experiment_that_does_not_say_how_it_scales_pixels_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "experiment.yaml"
    write_experiment(experiment(), path)
    tree = yaml.safe_load(path.read_text())
    del tree["task"]["model"]["pixels"]
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(ArtifactError, match="did not say how they scale pixels; run `train` again"):
        read_experiment(path, DETECTORS["retinanet_mobiledet_tiny"])
