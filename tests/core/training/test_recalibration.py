"""Statistics measured anew are those of all values that a batch norm sees, with the weights that are kept."""

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.modeling import optimization

from stages.core.detectors.build import build_model
from stages.core.training import fit
from stages.core.training.recalibration import find_batch_norms, recalibrate_batch_norms
from tests.experiment_builder import experiment
from tests.tiny_detector import TinyTask

pytestmark = pytest.mark.slow

layers = tf_keras.layers
EPSILON = 1e-3
STRATEGY = tf.distribute.OneDeviceStrategy("/cpu:0")
BATCHES = [np.random.default_rng(seed).normal(seed, 2, (4, 6, 6, 3)).astype(np.float32) for seed in range(3)]


class Chain(tf_keras.Model):  # type: ignore[misc]
    """Two batch norms in a row, the second of which sees what the first has normalized by its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layers.Conv2D(5, 3), layers.Conv2D(4, 2)
        self.norms = [layers.BatchNormalization(epsilon=EPSILON), layers.BatchNormalization(epsilon=EPSILON)]

    def call(self, pictures: Any, training: bool = False) -> Any:
        hidden = tf.nn.relu(self.norms[0](self.first(pictures), training=training))
        return self.norms[1](self.second(hidden), training=training)


def trained_chain(steps: int = 3, optimizer: Any = None) -> Any:
    """A chain after a few steps, whose moving averages are far from where they would end."""
    tf_keras.utils.set_random_seed(0)
    with STRATEGY.scope():
        model = Chain()
        model(BATCHES[0])
        if isinstance(optimizer, optimization.ExponentialMovingAverage):
            optimizer.shadow_copy(model)
    optimizer = optimizer or tf_keras.optimizers.legacy.SGD(0.1)
    for step in range(steps):
        STRATEGY.run(TinyTask(model).train_step, args=(BATCHES[step % 3], model, optimizer))
    return model


def values_seen(model: Any) -> list[np.ndarray]:
    """What goes into either batch norm over all batches, computed with NumPy: float [values, channels] each."""
    seen: list[list[np.ndarray]] = [[], []]
    for batch in BATCHES:
        values = model.first(batch).numpy().astype(np.float64)
        seen[0].append(values.reshape(-1, values.shape[-1]))
        mean, variance = seen[0][-1].mean(axis=0), seen[0][-1].var(axis=0)
        gamma, beta = (weight.numpy() for weight in (model.norms[0].gamma, model.norms[0].beta))
        hidden = np.maximum((values - mean) / np.sqrt(variance + EPSILON) * gamma + beta, 0)
        values = model.second(hidden.astype(np.float32)).numpy().astype(np.float64)
        seen[1].append(values.reshape(-1, values.shape[-1]))
    return [np.concatenate(values) for values in seen]


def assert_statistics(model: Any) -> None:
    for norm, values in zip(model.norms, values_seen(model), strict=True):
        np.testing.assert_allclose(norm.moving_mean.numpy(), values.mean(axis=0), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(norm.moving_variance.numpy(), values.var(axis=0), rtol=1e-4, atol=1e-4)


def recalibrate(model: Any) -> int:
    return recalibrate_batch_norms(TinyTask(model), model, BATCHES, STRATEGY)


def test_statistics_are_those_of_all_values_and_weights_stay() -> None:
    model = trained_chain()
    before = [variable.numpy() for variable in model.trainable_variables]
    with pytest.raises(AssertionError):
        assert_statistics(model)
    assert recalibrate(model) == 2
    assert_statistics(model)
    assert all(np.array_equal(old, new) for old, new in zip(before, model.trainable_variables, strict=True))
    # The layers are as they were: another training step moves the averages as usual.
    STRATEGY.run(TinyTask(model).train_step, args=(BATCHES[0], model, tf_keras.optimizers.legacy.SGD(0.1)))
    with pytest.raises(AssertionError):
        assert_statistics(model)


@pytest.mark.parametrize("averaged", [False, True])
def test_a_training_ends_with_statistics_of_the_weights_it_keeps(averaged: bool) -> None:
    optimizer = tf_keras.optimizers.legacy.SGD(0.1)
    if averaged:
        optimizer = optimization.ExponentialMovingAverage(
            optimizer, trainable_weights_only=False, average_decay=0.9, dynamic_decay=False
        )
    model = trained_chain(20, optimizer)
    raw = copy.deepcopy([variable.numpy() for variable in model.trainable_variables])
    trainer = SimpleNamespace(
        task=TinyTask(model),
        model=model,
        optimizer=optimizer,
        train_dataset=tf.data.Dataset.from_tensor_slices(BATCHES),
    )
    notes: list[str] = []
    config = SimpleNamespace(
        task=SimpleNamespace(recalibrate_batch_norm=12, train_data=SimpleNamespace(global_batch_size=4))
    )
    runner = SimpleNamespace(trainer=trainer, strategy=STRATEGY)
    with STRATEGY.scope():
        fit._recalibrate(runner, 20, config, SimpleNamespace(note=notes.append))  # type: ignore[arg-type]
    for old, new in zip(raw, model.trainable_variables, strict=True):
        np.testing.assert_allclose(old, new.numpy(), rtol=1e-5, atol=1e-6)
    if averaged:  # as the evaluation does
        with STRATEGY.scope():
            optimizer.swap_weights()
        assert not np.allclose(raw[0], model.trainable_variables[0].numpy(), rtol=1e-3)
    assert_statistics(model)
    assert "step 20: 2 batch norms measured anew on 12 training images" in notes[0]


def test_frozen_batch_norms_keep_theirs() -> None:
    model = trained_chain()
    model.norms[0].trainable = False
    before = [variable.numpy() for variable in (*model.norms[0].weights, *model.norms[1].non_trainable_variables)]
    assert recalibrate(model) == 1
    after = [variable.numpy() for variable in (*model.norms[0].weights, *model.norms[1].non_trainable_variables)]
    changed = [not np.array_equal(old, new) for old, new in zip(before, after, strict=True)]
    assert changed == [False] * 4 + [True] * 2
    model.trainable = False
    assert recalibrate(model) == 0


def test_a_layer_that_is_used_twice_counts_both() -> None:
    norm = layers.BatchNormalization()

    class Shared(tf_keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm = norm

        def call(self, pictures: Any, training: bool = False) -> Any:
            coarse = self.norm(pictures[:, ::2, ::3] + 5.0, training=training)
            return tf.reduce_mean(self.norm(pictures, training=training)) + tf.reduce_mean(coarse)

    model = Shared()
    model(BATCHES[0])
    assert recalibrate(model) == 1
    seen = np.concatenate([part.reshape(-1, 3) for batch in BATCHES for part in (batch, batch[:, ::2, ::3] + 5.0)])
    np.testing.assert_allclose(norm.moving_mean.numpy(), seen.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance.numpy(), seen.var(axis=0), rtol=1e-4)


@pytest.fixture(scope="module", params=["retinanet_mobiledet_tiny", "maskrcnn_tiny"])
def detector(request: pytest.FixtureRequest) -> Any:
    return build_model(experiment(request.param, input_size=[64, 64]))


def test_every_batch_norm_of_a_detector_is_found(detector: Any) -> None:
    found = {id(layer.moving_variance) for layer in find_batch_norms(detector)}
    assert found == {id(variable) for variable in detector.variables if "moving_variance" in variable.name}
