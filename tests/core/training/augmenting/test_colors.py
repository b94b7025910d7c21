"""Colour jitter changes what it says, keeps what it should, and nothing where it is off."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.training.augmenting.colors import RGB_TO_YIQ, jitter_colors
from tests.object_scenes import SEEDS, assert_consistent, random_sample, to_numpy, to_seed

pytestmark = pytest.mark.slow

OFF = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


def jitter(image: np.ndarray, seed: int, **strengths: float) -> np.ndarray:
    sample = random_sample(1, (8, 8), 1) | {"image": image}
    changed: np.ndarray = to_numpy(jitter_colors(sample, to_seed(seed), **OFF | strengths))["image"]
    return changed


def mild_image(seed: int) -> np.ndarray:
    """Colours so near to grey that small changes clip nothing."""
    return np.random.default_rng(seed).integers(100, 150, (20, 30, 3), np.uint8)


def to_yiq(image: np.ndarray) -> Any:
    return image.astype(np.float64) @ np.asarray(RGB_TO_YIQ).T


def test_off_is_the_identity() -> None:
    image = mild_image(0)
    np.testing.assert_array_equal(jitter(image, 1), image)


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, strengths=st.fixed_dictionaries({name: st.sampled_from([0.0, 0.3, 1.0]) for name in OFF}))
def test_objects_stay_and_colors_stay_in_range(seed: int, strengths: dict[str, float]) -> None:
    sample = random_sample(seed, (13, 21), 4)
    changed = to_numpy(jitter_colors(sample, to_seed(seed), **strengths))
    assert_consistent(changed)
    for key in sample.keys() - {"image"}:
        np.testing.assert_array_equal(changed[key], sample[key], err_msg=key)


@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_brightness_is_a_factor(seed: int) -> None:
    image = mild_image(seed)
    changed = jitter(image, seed, brightness=0.3).astype(float)
    factor = changed.mean() / image.mean()
    assert 0.69 <= factor <= 1.31
    # Half for rounding; the factor itself is an estimate from rounded values.
    np.testing.assert_allclose(changed, factor * image, atol=1)


@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_contrast_is_a_factor_of_the_distance_from_the_mean(seed: int) -> None:
    image = mild_image(seed)
    changed = jitter(image, seed, contrast=0.4).astype(float)
    factor = changed.std() / image.std()
    assert 0.55 <= factor <= 1.45
    # The mean is an estimate from a sixteenth of the pixels.
    np.testing.assert_allclose(to_yiq(changed)[..., 0].mean(), to_yiq(image)[..., 0].mean(), atol=3)


@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_hue_turns_the_chroma_and_keeps_luma(seed: int) -> None:
    before = to_yiq(mild_image(seed))
    after = to_yiq(jitter(mild_image(seed), seed, hue=1.0))
    np.testing.assert_allclose(after[..., 0], before[..., 0], atol=0.6)
    lengths = np.linalg.norm(before[..., 1:], axis=-1), np.linalg.norm(after[..., 1:], axis=-1)
    np.testing.assert_allclose(lengths[1], lengths[0], atol=1.0)


@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_saturation_scales_the_chroma_and_keeps_luma(seed: int) -> None:
    before = to_yiq(mild_image(seed))
    after = to_yiq(jitter(mild_image(seed), seed, saturation=0.5))
    np.testing.assert_allclose(after[..., 0], before[..., 0], atol=0.6)
    factor = np.sum(before[..., 1:] * after[..., 1:]) / np.sum(before[..., 1:] ** 2)
    assert 0.48 <= factor <= 1.52
    np.testing.assert_allclose(after[..., 1:], factor * before[..., 1:], atol=1.0)


def test_grey_stays_grey_under_saturation_and_hue() -> None:
    image = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    changed = jitter(image, 5, saturation=1.0, hue=1.0).astype(int)
    assert abs(changed - image).max() <= 1


@pytest.mark.parametrize("name", OFF)
def test_seed_decides(name: str) -> None:
    image = mild_image(2)
    several = [jitter(image, seed, **{name: 0.5}) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(several[0], several[1])
    assert (several[0] != several[2]).any()


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_strengths_out_of_range_are_refused(strength: float) -> None:
    with pytest.raises(ValueError, match=r"hue is .*; allowed: 0\.\.1"):
        jitter_colors({"image": tf.zeros([1, 1, 3], tf.uint8)}, to_seed(1), **OFF | {"hue": strength})
