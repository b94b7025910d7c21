"""Quantizers around the layers of real (narrow) detectors: where they are, where they are not, what they change."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stages.core.base.errors import TrainingError
from stages.core.detectors.build import build_model
from stages.core.quantizing.attach import freeze_norm, walk_layers
from stages.core.quantizing.model import put_weights_on_grid, quantize_model
from stages.core.quantizing.quantizers import FakeQuant, WeightQuantizer
from tests.experiment_builder import experiment
from tests.quantized_model import observe, run_heads

pytestmark = pytest.mark.slow

COMPUTING = (
    tf_keras.layers.Conv2D,
    tf_keras.layers.SeparableConv2D,
    tf_keras.layers.Dense,
    tf_keras.layers.DepthwiseConv2D,
)
NARROW = {"filter_size_scale": 0.25}
BACKBONES = {
    "cpu": ("retinanet_mobiledet_tiny", {"type": "mobiledet", "mobiledet": {"model_id": "MobileDetCPU", **NARROW}}),
    "edgetpu": ("retinanet_mobiledet_tiny", {}),
    "dsp": ("retinanet_mobiledet_tiny", {"type": "mobiledet", "mobiledet": {"model_id": "MobileDetDSP", **NARROW}}),
    "gpu": ("retinanet_mobiledet_tiny", {"type": "mobiledet", "mobiledet": {"model_id": "MobileDetGPU", **NARROW}}),
    "maskrcnn": ("maskrcnn_tiny", {}),
    "resnet": ("maskrcnn_tiny", {"type": "resnet", "resnet": {"model_id": 50, "depth_multiplier": 0.25}}),
}
"""Every backbone of the table, both kinds of heads."""


def detector(name: str) -> Any:
    model_name, backbone = BACKBONES[name]
    tf_keras.utils.set_random_seed(0)
    config = experiment(model_name, input_size=[64, 64], overrides={"task": {"model": {"backbone": backbone}}})
    model = build_model(config)
    for variable in model.trainable_variables:  # as they come, the heads' weights are too small to answer anything
        variable.assign_add(tf.random.normal(variable.shape, stddev=0.05))
    return model


@pytest.mark.parametrize("name", BACKBONES)
def test_every_layer_is_rounded_and_no_value_changes(name: str) -> None:
    model = detector(name)
    before = [(variable, variable.numpy()) for variable in model.variables]
    num_trainable, pixels = len(model.trainable_variables), picture()
    floats = run_heads(model, pixels)

    assert quantize_model(model) is model

    assert len(model.trainable_variables) == num_trainable
    for variable, value in before:
        np.testing.assert_array_equal(variable.numpy(), value)
    layers = [layer for layer in walk_layers(list(model.checkpoint_items.values())) if layer.built]
    computing = [layer for layer in layers if isinstance(layer, COMPUTING)]
    assert len(computing) > 20
    assert [layer.name for layer in computing if not getattr(layer, "weight_rounders", None)] == []

    observe(model, pixels)
    ranges = [layer.range for layer in layers if isinstance(layer, FakeQuant)]
    assert all((pair["max_var"].numpy() > pair["min_var"].numpy()).all() for pair in ranges)
    rounded = run_heads(model, pixels)
    assert floats.keys() == rounded.keys()
    for head, value in floats.items():
        # 256 steps a layer; the error grows with depth, but the answer stays the answer.
        error, scale = np.abs(rounded[head] - value).mean(), np.abs(value).max()
        assert 0 < error < 0.05 * scale, head


def picture() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32))


def test_weights_on_the_grid_compute_the_same() -> None:
    model, pixels = detector("maskrcnn"), picture()
    quantize_model(model)
    observe(model, pixels)
    simulated = run_heads(model, pixels)
    put_weights_on_grid(model)
    for head, value in run_heads(model, pixels).items():
        np.testing.assert_array_equal(value, simulated[head])
    kernels = [v.numpy() for layer in walk_layers(model.rpn_head) for v in layer.weights if "kernel" in v.name]
    for kernel in kernels:
        channels = kernel.reshape(-1, kernel.shape[-1])
        steps = channels / (np.abs(channels).max(axis=0) / 127)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


AXES = {"conv": (3,), "transposed": (2,), "depthwise": (2, 3)}


@pytest.mark.parametrize("case", AXES)
def test_weights_get_a_scale_for_each_channel(case: str) -> None:
    axes = AXES[case]
    kernel = np.random.default_rng(1).normal(size=(3, 3, 4, 5)).astype(np.float32)
    kernel[0, 0] = 0.0
    rounder = FakeQuant(WeightQuantizer(axes), kernel.shape)
    got = rounder(tf.constant(kernel), training=True).numpy()
    others = tuple(axis for axis in range(4) if axis not in axes)
    scale = np.abs(kernel).max(axis=others, keepdims=True) / 127
    np.testing.assert_allclose(got, np.round(kernel / scale) * scale, atol=1e-5)
    assert not got[0, 0].any()  # what was pruned stays pruned
    np.testing.assert_array_equal(rounder(tf.constant(kernel)).numpy(), got)


def test_frozen_norm_keeps_its_statistics_and_learns_its_scale() -> None:
    norm = tf_keras.layers.BatchNormalization()
    norm.build((None, 4))
    freeze_norm(norm)
    values = tf.constant(np.random.default_rng(0).normal(5.0, 2.0, (16, 4)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(norm(values, training=True) ** 2)
    np.testing.assert_array_equal(norm.moving_mean.numpy(), np.zeros(4))
    np.testing.assert_array_equal(norm.moving_variance.numpy(), np.ones(4))
    assert all(gradient is not None for gradient in tape.gradient(loss, norm.trainable_variables))


def test_a_layer_without_a_config_is_named() -> None:
    class Strange(tf_keras.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return inputs

    model = detector("edgetpu")
    entry = tf_keras.Input((64, 64, 3))
    model._backbone = tf_keras.Model(entry, {"3": Strange(name="odd")(entry)})
    with pytest.raises(TrainingError, match=r"backbone: layer 'odd' of type Strange .*known: Conv2DBNBlock") as caught:
        quantize_model(model)
    assert "\n" not in str(caught.value)
