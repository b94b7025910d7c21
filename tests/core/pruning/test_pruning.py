"""Masks: they reach the target, survive a checkpoint, keep zeros through steps, and leave nothing behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stages.core.base.jsonfile import write_json
from stages.core.params.refining import PruneParams
from stages.core.pruning.kernels import choose_kernels, list_kernels
from stages.core.pruning.prune import (
    Pruning,
    add_masks,
    create_pattern,
    create_schedule,
    strip_masks,
    update_masks,
)
from stages.core.training.hooks import attach_hook
from tests.builders import train_result
from tests.tiny_detector import PICTURES, SPEED, TinyDetector, TinyTask, build

pytestmark = pytest.mark.slow


def masked(params: PruneParams, seed: int = 0) -> TinyDetector:
    model = build(seed)
    add_masks(model, choose_kernels(list_kernels(model), params.layers, create_pattern(params)))
    return model


def train(
    model: Any, params: PruneParams, steps: int, *, optimizer: Any = None, strategy: Any = None
) -> tuple[Any, list[float]]:
    """Steps in a graph, as Orbit runs them. The optimizer, and the masked share after each step."""
    strategy = strategy or tf.distribute.get_strategy()
    task = TinyTask(model)
    with strategy.scope():
        optimizer = optimizer or tf_keras.optimizers.SGD(SPEED, momentum=0.9)
        optimizer.build(model.trainable_variables)

    @tf.function
    def step() -> None:
        def replica() -> None:
            task.train_step(PICTURES, model, optimizer)
            update_masks(model, params, optimizer.iterations)

        strategy.run(replica)

    shares = []
    for _ in range(steps):
        step()
        zeros = [np.mean(kernel.variable.numpy() == 0) for kernel in list_kernels(model)]
        shares.append(float(max(zeros)))
    return optimizer, shares


def zeros_of(model: Any) -> dict[str, float]:
    return {kernel.path: float(np.mean(kernel.variable.numpy() == 0)) for kernel in list_kernels(model)}


def steps(**changes: Any) -> PruneParams:
    return PruneParams(**{"end_step": 8, "frequency": 3, "steps": 12, **changes})


REACHED: dict[str, PruneParams] = {
    "polynomial": steps(target_sparsity=0.7),
    "constant": steps(target_sparsity=0.4, sparsity_schedule="constant", begin_step=2),
    "frequency-misses-the-end": steps(target_sparsity=0.8, frequency=5),
    "2-by-4": steps(m_by_n=(2, 4)),
    "blocks": steps(block_size=(4, 2)),
    "blocks-max": steps(block_size=(1, 4), block_pooling="MAX"),
    "named": steps(target_sparsity=0.75, layers=("depthwise", "head/")),
}


@pytest.mark.parametrize("case", REACHED)
def test_every_pruned_kernel_reaches_the_target(case: str) -> None:
    params = REACHED[case]
    model = masked(params)
    train(model, params, params.steps)
    sparsities = strip_masks(model)
    assert sparsities
    for path, sparsity in sparsities.items():
        assert sparsity == pytest.approx(params.target_sparsity, abs=0.01), path
    found = zeros_of(model)
    assert {path for path, share in found.items() if share} == set(sparsities)
    assert all(found[path] == share for path, share in sparsities.items())


def pruned_kernels(params: PruneParams) -> list[np.ndarray]:
    """The kernels that a short pruning has reached."""
    model = masked(params)
    train(model, params, 12)
    pruned = set(strip_masks(model))
    return [kernel.variable.numpy() for kernel in list_kernels(model) if kernel.path in pruned]


def test_two_of_four_along_the_inputs_stay() -> None:
    kernels = pruned_kernels(REACHED["2-by-4"])
    assert kernels
    for kernel in kernels:
        along_inputs = np.moveaxis(kernel, -2, -1).reshape(-1, 4)
        assert (np.count_nonzero(along_inputs, axis=-1) == 2).all(), kernel.shape


def test_blocks_are_zero_as_a_whole() -> None:
    kernels = pruned_kernels(REACHED["blocks"])
    assert kernels
    for kernel in kernels:
        matrix = kernel.reshape(-1, kernel.shape[-1])
        blocks = matrix.reshape(matrix.shape[0] // 4, 4, matrix.shape[1] // 2, 2) != 0
        assert (blocks.any((1, 3)) == blocks.all((1, 3))).all(), kernel.shape


def test_sparsity_grows_along_the_schedule() -> None:
    params = steps(target_sparsity=0.8, begin_step=2, end_step=10, frequency=2, layers=("head/.*/kernel",))
    _, shares = train(masked(params), params, 12)
    assert shares[0] == 0.0
    assert shares[1:10:2] == pytest.approx([0.8 - 0.8 * (1 - done / 8) ** 3 for done in (0, 2, 4, 6, 8)], abs=0.01)
    assert shares[9:] == [shares[9]] * 3


def test_the_end_step_is_a_pruning_step_whatever_the_frequency() -> None:
    schedule = create_schedule(steps(frequency=5, target_sparsity=0.6))
    due = [step for step in range(20) if bool(schedule(tf.constant(step, tf.int64))[0])]
    assert due == [0, 5, 8]
    assert float(schedule(tf.constant(8, tf.int64))[1]) == pytest.approx(0.6)


STRATEGIES: dict[str, Callable[[], Any]] = {
    "one_device": lambda: tf.distribute.OneDeviceStrategy("/cpu:0"),
    "mirrored": lambda: tf.distribute.MirroredStrategy(["/cpu:0"]),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_masks_work_inside_a_strategy(name: str) -> None:
    params, strategy = steps(), STRATEGIES[name]()
    with strategy.scope():
        model = masked(params)
    train(model, params, 12, strategy=strategy)
    assert set(strip_masks(model).values()) == {0.5}


def test_a_resumed_training_goes_on_with_the_same_masks(tmp_path: Path) -> None:
    params = steps()
    straight = masked(params)
    train(straight, params, 12)

    stopped = masked(params)
    optimizer, _ = train(stopped, params, 9)  # behind the end step: masks are never made again
    saved = tf.train.Checkpoint(model=stopped, optimizer=optimizer).write(str(tmp_path / "ckpt"))

    resumed = masked(params, seed=1)
    fresh = tf_keras.optimizers.SGD(SPEED, momentum=0.9)
    fresh.build(resumed.trainable_variables)
    tf.train.Checkpoint(model=resumed, optimizer=fresh).read(saved).assert_consumed()
    for path, mask in stopped.pruning.masks.items():
        np.testing.assert_array_equal(resumed.pruning.masks[path].numpy(), mask.numpy())
    train(resumed, params, 3, optimizer=fresh)
    for got, wanted in zip(list_kernels(resumed), list_kernels(straight), strict=True):
        np.testing.assert_allclose(got.variable.numpy(), wanted.variable.numpy(), atol=1e-5)
        np.testing.assert_array_equal(got.variable.numpy() == 0, wanted.variable.numpy() == 0)


def stored(model: Any, path: Path) -> dict[str, list[int]]:
    return dict(tf.train.list_variables(tf.train.Checkpoint(model=model).write(str(path))))


def test_masks_are_in_checkpoints_but_not_in_the_model_and_strip_leaves_nothing(tmp_path: Path) -> None:
    params = steps()
    model = build()
    plain, weights = stored(model, tmp_path / "plain"), len(model.weights)
    add_masks(model, choose_kernels(list_kernels(model), None, create_pattern(params)))
    assert any("pruning/masks" in name for name in stored(model, tmp_path / "masked"))
    assert len(model.weights) == len(model.variables) == weights
    strip_masks(model)
    assert stored(model, tmp_path / "stripped") == plain
    assert not hasattr(model, "pruning")


def write_source(folder: Path, model: Any) -> None:
    """A folder of trained weights, as far as a refinement reads it."""
    tf.train.Checkpoint(model=model).write(str(folder / "checkpoint" / "ckpt"))
    write_json(train_result(folder.name, checkpoint="checkpoint/ckpt"), folder / "result.json")


def test_the_refinement_starts_from_the_source_and_prunes_at_each_step(tmp_path: Path) -> None:
    params, source = steps(), tmp_path / "trained" / "retinanet_mobiledet_tiny"
    write_source(source, build(seed=5))
    refinement = Pruning(source=source, params=params)
    assert (refinement.variant, refinement.settled_step) == ("pruned", 8)
    assert refinement.key["target_sparsity"] == 0.5
    task = attach_hook(TinyTask(build()), refinement)
    model, optimizer = task.build_model(), tf_keras.optimizers.SGD(SPEED)
    for got, wanted in zip(list_kernels(model), list_kernels(build(seed=5)), strict=True):
        np.testing.assert_array_equal(got.variable.numpy(), wanted.variable.numpy())
    step = tf.function(lambda: task.train_step(PICTURES, model=model, optimizer=optimizer, metrics=None))
    for _ in range(8):
        assert set(step()) == {"loss"}
    kept = refinement.finish(model)
    assert 0.5 in zeros_of(kept).values()
