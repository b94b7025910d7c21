"""Flips and quarter turns move every pixel, box and mask alike."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from stages.core.training.augmenting.flips import flip_horizontally, flip_vertically, turn_quarters
from tests.object_scenes import SEED_SPEC, SEEDS, SPEC, assert_exact, random_sample, samples, to_numpy, to_seed

pytestmark = pytest.mark.slow

FUNCTIONS = {
    function.__name__: tf.function(function, input_signature=[SPEC, SEED_SPEC])
    for function in (flip_horizontally, flip_vertically, turn_quarters)
}
OUTCOMES: dict[str, list[Callable[[Any], Any]]] = {
    "flip_horizontally": [lambda image: image, np.fliplr],
    "flip_vertically": [lambda image: image, np.flipud],
    "turn_quarters": [lambda image, turns=turns: np.rot90(image, turns) for turns in range(4)],
}


def outcome(name: str, before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> int:
    """Which outcome of a function an image is; of a symmetrical one, the first that fits."""
    fits = [np.array_equal(turn(before["image"]), after["image"]) for turn in OUTCOMES[name]]
    return fits.index(True)


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(deadline=None, max_examples=25)
@given(sample=samples(), seed=SEEDS)
def test_boxes_and_masks_follow_exactly(name: str, sample: dict[str, np.ndarray], seed: int) -> None:
    moved = to_numpy(FUNCTIONS[name](sample, to_seed(seed)))
    assert_exact(moved)
    outcome(name, sample, moved)
    np.testing.assert_array_equal(moved["groundtruth_classes"], sample["groundtruth_classes"])
    np.testing.assert_array_equal(moved["groundtruth_area"], sample["groundtruth_area"])


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(deadline=None, max_examples=15)
@given(sample=samples(), seed=SEEDS)
def test_often_enough_is_the_identity(name: str, sample: dict[str, np.ndarray], seed: int) -> None:
    moved = sample
    for _ in OUTCOMES[name]:
        moved = FUNCTIONS[name](moved, to_seed(seed))
    for key, value in to_numpy(moved).items():
        if key == "groundtruth_boxes":
            np.testing.assert_allclose(value, sample[key], atol=1e-6)
        else:
            np.testing.assert_array_equal(value, sample[key], err_msg=key)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_outcome_is_equally_likely(name: str) -> None:
    sample = random_sample(3, (9, 14), 3)
    counts = np.zeros(len(OUTCOMES[name]))
    for seed in range(200):
        counts[outcome(name, sample, to_numpy(FUNCTIONS[name](sample, to_seed(seed))))] += 1
    expected = 200 / len(counts)
    assert (abs(counts - expected) < 4 * expected**0.5).all()
