"""Gradients in bfloat16: which processors have it, what is rounded, and what stays as it was."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stages.core.detectors.build import build_task, create_variables
from stages.core.params.training import TrainSettings
from stages.core.results.kinds import Variant
from stages.core.training import job
from stages.core.training.bfloat16 import differentiate_in_bfloat16, has_bfloat16
from stages.core.training.clock import TrainingLength
from stages.core.training.tasks import TrainingSetup, build_training_task
from tests.experiment_builder import experiment

pytestmark = pytest.mark.slow

PROCESSORS = {
    "flags\t\t: fpu avx512f avx512_bf16\n": True,
    "flags : fpu amx_bf16 amx_tile": True,
    "flags : fpu avx2 avx512f avx512_vnni": False,
    "processor : 0\nFeatures : fp asimd bf16": False,  # ARM: not tried
    "": False,
}


@pytest.mark.parametrize("text", PROCESSORS)
def test_which_processors_have_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert has_bfloat16(tmp_path / "cpuinfo") is PROCESSORS[text]
    assert not has_bfloat16(tmp_path / "nothing")


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("variant", list(Variant))
def test_which_trainings_use_it(variant: Variant, has: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "has_bfloat16", lambda: has)
    fields: dict[str, Any] = {
        "settings": TrainSettings(bfloat16_math=wanted),
        "variant": variant,
        "layout": SimpleNamespace(annotations=lambda split: Path(split)),
        "config": SimpleNamespace(trainer=SimpleNamespace(train_steps=1)),
    }
    is_rounded = variant in (Variant.QAT, Variant.PRUNED_QAT)
    assert job.make_setup(SimpleNamespace(**fields)).bfloat16_gradients is (wanted and has and not is_rounded)  # type: ignore[arg-type]


needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="the processor has no bfloat16")


@needs_bfloat16
def test_gradients_are_rounded_and_what_a_convolution_computes_is_not() -> None:
    """Whole numbers up to 256 are bfloat16, and their products add up exactly; larger sums are rounded."""
    layer = tf_keras.layers.Conv2D(8, 3, padding="same", kernel_initializer=tf_keras.initializers.RandomUniform(-8, 8))
    random = np.random.default_rng(0)
    inputs, upstream = (tf.constant(random.integers(-16, 17, (2, 8, 8, n)), tf.float32) for n in (16, 8))
    layer.build(inputs.shape)
    layer.kernel.assign(tf.round(layer.kernel))

    @tf.function
    def compute() -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            result = layer(inputs)
        return result, tape.gradient(result, [inputs, layer.kernel], output_gradients=upstream)

    expected, exact = compute()
    differentiate_in_bfloat16(tf_keras.Sequential([layer]))
    compute = tf.function(compute.python_function)
    result, gradients = compute()
    np.testing.assert_array_equal(result, expected)
    for gradient, value in zip(gradients, exact, strict=True):
        assert gradient.dtype == tf.float32
        np.testing.assert_array_equal(gradient, tf.cast(tf.cast(value, tf.bfloat16), tf.float32))
        assert np.any(np.asarray(gradient) != np.asarray(value))


@needs_bfloat16
@pytest.mark.parametrize("name", ["retinanet_mobiledet_tiny", "ssdlite_tiny", "maskrcnn_tiny"])
def test_a_detector_computes_the_same_and_learns_by_nearly_the_same_gradients(name: str) -> None:
    tf_keras.utils.set_random_seed(0)
    config = experiment(name, input_size=[64, 64])
    model = create_variables(build_task(config).build_model(), config.task.model)
    names = [(variable.name, variable.dtype) for variable in model.variables]
    images = tf.random.normal([2, 64, 64, 3])
    expected, exact = features_and_gradients(model, images)
    dense = [layer for layer in model.submodules if isinstance(layer, tf_keras.layers.Conv2D) and is_dense(layer)]
    assert differentiate_in_bfloat16(model) == dense
    assert len(dense) > 20
    found, rounded = features_and_gradients(model, images)
    assert [(variable.name, variable.dtype) for variable in model.variables] == names
    for level, values in expected.items():
        np.testing.assert_array_equal(found[level], values)
    assert {gradient.dtype for gradient in rounded} == {tf.float32}
    one, other = (np.concatenate([np.ravel(gradient) for gradient in side]) for side in (rounded, exact))
    distance = np.linalg.norm(one - other) / np.linalg.norm(other)
    assert 1e-5 < distance < 0.05


def features_and_gradients(model: Any, images: tf.Tensor) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
    """Feature maps of the backbone, and gradients of their squares by its variables."""
    variables = model.backbone.trainable_variables
    with tf.GradientTape() as tape:
        found: dict[str, tf.Tensor] = model.backbone(images, training=False)
        loss = tf.add_n([tf.reduce_mean(value**2) for value in found.values()])
    gradients = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return found, gradients


def is_dense(layer: tf_keras.layers.Conv2D) -> bool:
    kinds = (tf_keras.layers.DepthwiseConv2D, tf_keras.layers.SeparableConv2D, tf_keras.layers.Conv2DTranspose)
    return not isinstance(layer, kinds)


@pytest.mark.parametrize("wanted", [True, False])
def test_a_task_builds_what_its_setup_says(wanted: bool, tmp_path: Path) -> None:
    config = experiment("retinanet_mobiledet_tiny", input_size=[64, 64])
    setup = TrainingSetup(
        annotations=tmp_path / "none",
        length=TrainingLength(steps=1, max_minutes=None),
        average_follows_clock=False,
        bfloat16_gradients=wanted,
    )
    task = build_training_task(config, setup, logging_dir=tmp_path)
    model = create_variables(task.build_model(), config.task.model)

    @tf.function
    def differentiate(images: tf.Tensor) -> Any:
        return features_and_gradients(model, images)[1]

    graph = differentiate.get_concrete_function(tf.TensorSpec([2, 64, 64, 3])).graph
    assert any(value.dtype == tf.bfloat16 for op in graph.get_operations() for value in op.outputs) is wanted
