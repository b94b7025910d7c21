"""A pretrained backbone learns by its own rates, and not at all in a first phase."""

from typing import Any

import numpy as np
import orbit
import pytest
import tensorflow as tf
import tf_keras
from official.modeling import optimization

from stages.core.detectors.recipe import optimizer_tree
from stages.core.params.training import TrainSettings
from stages.core.training.backbone_rates import FrozenBackbone, list_stages, scale_learning_rates, stage_factors
from tests.tiny_detector import PICTURES, TinyTask, build

pytestmark = pytest.mark.slow

layers = tf_keras.layers


def functional_backbone() -> Any:
    """Stages at half and at quarter resolution, with a block of two layers in the second."""
    image = layers.Input((16, 16, 3))
    stem = layers.BatchNormalization()(layers.Conv2D(4, 3, 2, padding="same", use_bias=False)(image))
    deep = layers.Conv2D(4, 3, 2, padding="same", use_bias=False)(layers.ReLU()(stem))
    deep = layers.Conv2D(4, 3, padding="same", use_bias=False)(deep)
    return tf_keras.Model(image, {"1": stem, "2": deep})


def test_a_stage_is_what_works_at_one_resolution() -> None:
    backbone = functional_backbone()
    stages = list_stages(backbone)
    assert [len(stage) for stage in stages] == [3, 2]  # kernel, gamma and beta; two kernels
    factors = stage_factors(backbone, 0.5)
    assert [sorted({factors[variable.ref()] for variable in stage}) for stage in stages] == [[0.25], [0.5]]
    assert len(factors) == len(backbone.trainable_variables)


def optimizer_of(kind: str, rate: float, *, average: float = 0.0) -> Any:
    """Model Garden's own, with a rate that falls; clipping would couple the variables, and is off."""
    settings = TrainSettings(
        optimizer=kind,  # type: ignore[arg-type]
        learning_rate=rate,
        weight_decay=0.1,
        gradient_clip_norm=0,
        warmup_steps=2,
        steps=20,
        ema_decay=average,
    )
    factory = optimization.OptimizerFactory(optimization.OptimizationConfig(optimizer_tree(settings)))
    return factory.build_optimizer(factory.build_learning_rate())


def learn(optimizer: Any, *, factor: float | None = None) -> list[np.ndarray]:
    """Two variables after ten traced steps on losses that do not touch each other; the first at a share of the rate."""
    tf_keras.utils.set_random_seed(0)
    model = tf_keras.Sequential([layers.Dense(3, use_bias=False, input_shape=(2,)), layers.Dense(3, use_bias=False)])
    slow, fast = model.trainable_variables
    if isinstance(optimizer, optimization.ExponentialMovingAverage):
        optimizer.shadow_copy(model)
    if factor is not None:
        scale_learning_rates(optimizer, {slow.ref(): factor})

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = sum(tf.reduce_sum((variable - 2.0) ** 4) for variable in (slow, fast))
        optimizer.apply_gradients(zip(tape.gradient(loss, [slow, fast]), [slow, fast], strict=True))

    for _ in range(10):
        step()
    if isinstance(optimizer, optimization.ExponentialMovingAverage):
        return [optimizer.get_slot(variable, "average").numpy() for variable in (slow, fast)]
    return [slow.numpy(), fast.numpy()]


@pytest.mark.parametrize("average", [0.0, 0.9], ids=["plain", "averaged"])
@pytest.mark.parametrize(("kind", "rate"), [("sgd", 0.002), ("adamw", 0.02)])
def test_a_factor_on_a_variable_is_that_factor_on_its_learning_rate(kind: str, rate: float, average: float) -> None:
    mixed = learn(optimizer_of(kind, rate, average=average), factor=0.25)
    everything = learn(optimizer_of(kind, rate, average=average))
    slowly = learn(optimizer_of(kind, 0.25 * rate, average=average))
    np.testing.assert_allclose(mixed[0], slowly[0], rtol=1e-5)
    np.testing.assert_array_equal(mixed[1], everything[1])
    assert not np.allclose(mixed[0], everything[0], rtol=1e-2)


class TinyTrainer(orbit.StandardTrainer):  # type: ignore[misc]
    """Orbit's loop on a tiny detector; counts how often a step is traced."""

    def __init__(self) -> None:
        self.global_step = orbit.utils.create_global_step()
        self.model = build()
        self.optimizer = tf_keras.optimizers.legacy.Adam(0.01)
        self.optimizer._create_all_weights(self.model.trainable_variables)
        self.traced = 0
        super().__init__(tf.data.Dataset.from_tensors(PICTURES).repeat())

    def train_step(self, iterator: Any) -> None:
        self.traced += 1
        TinyTask(self.model).train_step(next(iterator), self.model, self.optimizer)
        self.global_step.assign_add(1)


def test_the_backbone_stays_for_the_first_steps_and_then_learns() -> None:
    trainer = TinyTrainer()
    before = [variable.numpy() for variable in trainer.model.backbone.variables]
    head = [variable.numpy() for variable in trainer.model.head.variables]
    phase = FrozenBackbone(trainer, until=4)

    assert phase.limit(10) == 4
    trainer.train(tf.constant(3))
    assert not phase.release_if_due()
    trainer.train(tf.constant(1))
    for old, variable in zip(before, trainer.model.backbone.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())
    assert not all(np.array_equal(old, new) for old, new in zip(head, trainer.model.head.variables, strict=True))

    assert phase.release_if_due()
    assert not phase.release_if_due()
    assert phase.limit(10) == 10
    trainer.train(tf.constant(4))
    trainer.train(tf.constant(2))
    changed = [not np.array_equal(old, new) for old, new in zip(before, trainer.model.backbone.variables, strict=True)]
    assert all(changed)  # moving statistics among them
    once = trainer.traced // 2  # a `tf.function` with a loop traces its body more than once
    assert trainer.traced == 2 * once


@pytest.mark.parametrize("until", [0, 3])
def test_a_training_past_the_phase_is_not_frozen(until: int) -> None:
    trainer = TinyTrainer()
    trainer.global_step.assign(3)
    assert not FrozenBackbone(trainer, until=until).is_frozen
    assert trainer.model.backbone.trainable_variables
