"""Convolutions in bfloat16: which processors have it, what is rounded, and what stays as it was."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.vision.tasks.retinanet import RetinaNetTask

from stages.core.detectors.build import build_task, create_variables
from stages.core.params.training import TrainSettings
from stages.core.results.kinds import Variant
from stages.core.training import job
from stages.core.training.bfloat16 import convolve_in_bfloat16, has_bfloat16, rounding
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
    assert job.make_setup(SimpleNamespace(**fields)).bfloat16_convolutions is (wanted and has and not is_rounded)  # type: ignore[arg-type]


needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="the processor has no bfloat16")


@needs_bfloat16
def test_what_a_convolution_computes() -> None:
    """Whole numbers up to 256 are bfloat16, and their products add up exactly; other values are rounded."""
    layer = tf_keras.layers.Conv2D(8, 3, padding="same", kernel_initializer=tf_keras.initializers.RandomUniform(-8, 8))
    random = np.random.default_rng(0)
    inputs = tf.constant(random.integers(-4, 5, (2, 8, 8, 16)), tf.float32)
    layer.build(inputs.shape)
    layer.kernel.assign(tf.round(layer.kernel))
    expected = layer(inputs)
    convolve_in_bfloat16(tf_keras.Sequential([layer]))
    np.testing.assert_array_equal(layer(inputs), expected)
    with rounding():
        result = layer(inputs)
    assert result.dtype == tf.float32
    np.testing.assert_array_equal(result, tf.cast(tf.cast(expected, tf.bfloat16), tf.float32))
    assert np.any(np.asarray(result) != np.asarray(expected))
    assert layer.kernel.dtype == tf.float32


@needs_bfloat16
@pytest.mark.parametrize("name", ["retinanet_mobiledet_tiny", "ssdlite_tiny", "maskrcnn_tiny"])
def test_a_detector_computes_nearly_the_same_and_keeps_its_variables(name: str) -> None:
    tf_keras.utils.set_random_seed(0)
    config = experiment(name, input_size=[64, 64])
    model = create_variables(build_task(config).build_model(), config.task.model)
    names = [(variable.name, variable.dtype) for variable in model.variables]
    images = tf.random.normal([2, 64, 64, 3])
    expected = features(model, images)
    dense = [layer for layer in model.submodules if isinstance(layer, tf_keras.layers.Conv2D) and is_dense(layer)]
    assert convolve_in_bfloat16(model) == dense
    assert len(dense) > 20
    with rounding():
        result = features(model, images)
    assert [(variable.name, variable.dtype) for variable in model.variables] == names
    for level, values in expected.items():
        distance = np.abs(np.asarray(result[level]) - np.asarray(values)).max() / np.abs(np.asarray(values)).max()
        assert 1e-6 < distance < 0.1, (level, distance)
    for level, values in features(model, images).items():  # an evaluation's
        np.testing.assert_array_equal(values, expected[level])
    with rounding(), tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_mean(value**2) for value in features(model, images).values()])
    gradients = tape.gradient(loss, model.backbone.trainable_variables)
    assert {gradient.dtype for gradient in gradients if gradient is not None} == {tf.float32}


def features(model: Any, images: tf.Tensor) -> dict[str, tf.Tensor]:
    found: dict[str, tf.Tensor] = model.backbone(images, training=False)
    return found


def is_dense(layer: tf_keras.layers.Conv2D) -> bool:
    kinds = (tf_keras.layers.DepthwiseConv2D, tf_keras.layers.SeparableConv2D, tf_keras.layers.Conv2DTranspose)
    return not isinstance(layer, kinds)


@pytest.mark.parametrize("wanted", [True, False])
def test_training_steps_round_and_evaluations_do_not(
    wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(task: Any, inputs: Any, model: Any, *others: Any) -> Any:
        return model.backbone(inputs, training=True)

    for name in ("train_step", "validation_step"):
        monkeypatch.setattr(RetinaNetTask, name, forward)
    config = experiment("retinanet_mobiledet_tiny", input_size=[64, 64])
    setup = TrainingSetup(
        annotations=tmp_path / "none",
        length=TrainingLength(steps=1, max_minutes=None),
        average_follows_clock=False,
        bfloat16_convolutions=wanted,
    )
    task = build_training_task(config, setup, logging_dir=tmp_path)
    model = create_variables(task.build_model(), config.task.model)
    assert computes_in_bfloat16(lambda images: task.train_step(images, model, None)) is wanted
    assert not computes_in_bfloat16(lambda images: task.validation_step(images, model))


def computes_in_bfloat16(function: Any) -> bool:
    """Whether anything in the function's graph is bfloat16."""
    graph = tf.function(function).get_concrete_function(tf.TensorSpec([2, 64, 64, 3])).graph
    return any(tensor.dtype == tf.bfloat16 for op in graph.get_operations() for tensor in op.outputs)
