"""Exact zeros of pruned weights stay through a training that starts from them."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stages.core.pruning.kernels import list_kernels
from stages.core.quantizing.zeros import mask_zeros, restore_zeros
from tests.tiny_detector import PICTURES, SPEED, TinyTask, build

pytestmark = pytest.mark.slow


def test_zeros_are_kept_where_a_training_starts_from_pruned_weights() -> None:
    model = build()
    rng = np.random.default_rng(3)
    for kernel in list_kernels(model)[1:]:  # depthwise too; the first one stays dense
        kernel.variable.assign(kernel.variable * (rng.random(kernel.shape) < 0.5))
    before = {kernel.path: kernel.variable.numpy() for kernel in list_kernels(model)}
    masked = mask_zeros(model)
    task, optimizer = TinyTask(model), tf_keras.optimizers.SGD(SPEED, momentum=0.9)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step() -> None:
        task.train_step(PICTURES, model=model, optimizer=optimizer)
        restore_zeros(masked, optimizer.iterations)

    for _ in range(3):
        step()
    for index, kernel in enumerate(list_kernels(model)):
        old, new = before[kernel.path], kernel.variable.numpy()
        assert not np.array_equal(old, new), kernel.path
        if index:
            np.testing.assert_array_equal(new[old == 0], 0.0)
            assert 0 < np.mean(new == 0) < 1
