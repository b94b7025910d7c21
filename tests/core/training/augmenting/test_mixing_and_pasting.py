"""Mix-up keeps the objects of both images; copy-paste cuts what it covers."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.training.augmenting.mixing import MIN_WEIGHT, mix_up
from stages.core.training.augmenting.pasting import copy_paste
from stages.core.training.augmenting.sample import FILL
from tests.object_scenes import (
    BACKGROUND,
    SEED_SPEC,
    SEEDS,
    SPEC,
    assert_close,
    boxes_in_pixels,
    draw_sample,
    random_sample,
    samples,
    tight_box,
    to_numpy,
    to_seed,
    without_masks,
)

pytestmark = pytest.mark.slow

mix = tf.function(partial(mix_up, alpha=1.0), input_signature=[SPEC, SPEC, SEED_SPEC])
paste = tf.function(partial(copy_paste, max_objects=3), input_signature=[SPEC, SPEC, SEED_SPEC])


@settings(deadline=None, max_examples=25)
@given(first=samples(), second=samples(), seed=SEEDS)
def test_mixed_boxes_and_masks_agree(first: dict[str, np.ndarray], second: dict[str, np.ndarray], seed: int) -> None:
    mixed = to_numpy(mix(first, second, to_seed(seed)))
    assert mixed["image"].shape == first["image"].shape
    assert_close(mixed, is_in_color=False)
    count = len(first["groundtruth_classes"])
    for key in ("groundtruth_boxes", "groundtruth_classes", "groundtruth_instance_masks"):
        np.testing.assert_array_equal(mixed[key][:count], first[key])


@settings(deadline=None, max_examples=15)
@given(first=SEEDS, second=SEEDS, seed=SEEDS)
def test_images_of_one_size_are_blended_pixel_by_pixel(first: int, second: int, seed: int) -> None:
    one, other = random_sample(first, (30, 40), 3), random_sample(second, (30, 40), 3)
    mixed = to_numpy(mix(one, other, to_seed(seed)))
    ours, theirs = one["image"].astype(float), other["image"].astype(float)
    apart = abs(ours - theirs) > 100
    if apart.any():
        weight = np.median((mixed["image"] - theirs)[apart] / (ours - theirs)[apart])
        assert MIN_WEIGHT - 0.01 <= weight <= 1 - MIN_WEIGHT + 0.01
        np.testing.assert_allclose(mixed["image"], weight * ours + (1 - weight) * theirs, atol=1.5)
    classes = [*one["groundtruth_classes"], *other["groundtruth_classes"]]
    assert mixed["groundtruth_classes"].tolist() == classes


@pytest.mark.parametrize("alpha", [1e-3, 0.2, 8.0])
def test_weights_differ_by_seed_and_are_finite(alpha: float) -> None:
    one, other = draw_sample((2, 4), {}), draw_sample((4, 4), {(0, 0, 4, 4): 1})
    values = {int(mix_up(one, other, to_seed(seed), alpha=alpha)["image"][0, 0, 0]) for seed in range(12)}
    values |= {int(mix_up(one, other, to_seed(seed), alpha=alpha)["image"][0, 3, 0]) for seed in range(12)}
    assert len(values) > 2
    # Grey lies beside the second image, which is narrower.
    assert all(min(BACKGROUND, FILL) < value < 250 for value in values)


@settings(deadline=None, max_examples=40)
@given(target=samples(), source=samples(), seed=SEEDS)
def test_pasted_boxes_masks_and_colors_agree(
    target: dict[str, np.ndarray], source: dict[str, np.ndarray], seed: int
) -> None:
    pasted = to_numpy(paste(target, source, to_seed(seed)))
    assert pasted["image"].shape == target["image"].shape
    assert_close(pasted)
    # Objects of one image do not overlap, and of what is covered nothing is left: so no pixel has two objects.
    assert (pasted["groundtruth_instance_masks"].sum(axis=0) <= 1).all()
    crowds = (pasted["groundtruth_is_crowd"].sum(), target["groundtruth_is_crowd"].sum())
    assert crowds[0] <= crowds[1]


@settings(deadline=None, max_examples=20)
@given(scene=SEEDS, seed=SEEDS)
def test_one_to_most_objects_are_pasted(scene: int, seed: int) -> None:
    source = random_sample(scene, (40, 40), 5)
    pasted = to_numpy(paste(draw_sample((40, 40), {}), source, to_seed(seed)))
    available = int((~source["groundtruth_is_crowd"]).sum())
    assert min(1, available) <= len(pasted["groundtruth_classes"]) <= min(3, available)
    for box in boxes_in_pixels(pasted):
        assert (abs(boxes_in_pixels(source) - box).max(axis=1) < 1e-3).any()


def test_every_count_and_every_object_is_drawn() -> None:
    source = draw_sample((40, 40), {(0, 8 * i, 5, 8 * i + 5): 1 + i for i in range(4)})
    drawn = [to_numpy(paste(draw_sample((40, 40), {}), source, to_seed(seed))) for seed in range(30)]
    assert {len(sample["groundtruth_classes"]) for sample in drawn} == {1, 2, 3}
    assert {category for sample in drawn for category in sample["groundtruth_classes"].tolist()} == {1, 2, 3, 4}


def test_covered_objects_are_cut_or_dropped() -> None:
    target = draw_sample((20, 30), {(2, 2, 8, 8): 1, (2, 10, 8, 20): 2, (12, 2, 18, 20): 6})
    source = draw_sample((20, 30), {(0, 0, 10, 15): 3})
    pasted = to_numpy(paste(target, source, to_seed(1)))
    assert pasted["groundtruth_classes"].tolist() == [2, 6, 3]
    expected = [[2, 15, 8, 20], [12, 2, 18, 20], [0, 0, 10, 15]]
    np.testing.assert_allclose(boxes_in_pixels(pasted), expected, atol=1e-4)
    assert [tight_box(mask) for mask in pasted["groundtruth_instance_masks"]] == expected
    np.testing.assert_allclose(pasted["groundtruth_area"], [30, 108, 150])


@given(count=st.integers(0, 3))
@settings(deadline=None, max_examples=4)
def test_a_source_of_crowds_changes_nothing(count: int) -> None:
    target = random_sample(4, (20, 30), count)
    pasted = to_numpy(paste(target, draw_sample((25, 20), {(0, 0, 20, 20): 6}), to_seed(1)))
    for key, value in target.items():
        np.testing.assert_array_equal(pasted[key], value, err_msg=key)


def test_wrong_calls_are_refused() -> None:
    sample = random_sample(1, (20, 20), 1)
    with pytest.raises(ValueError, match="alpha is 0; it must be above 0"):
        mix_up(sample, sample, to_seed(1), alpha=0)
    with pytest.raises(ValueError, match="max_objects is 0"):
        copy_paste(sample, sample, to_seed(1), max_objects=0)
    with pytest.raises(ValueError, match="copy_paste needs groundtruth_instance_masks"):
        copy_paste(sample, without_masks(sample), to_seed(1), max_objects=1)
