"""Every augmentation of the table runs in an input pipeline, with and without masks, and is decided by its seed."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stages.core.params.training import AugmentationParams
from stages.core.training.augmenting.patch import FITS, InputFrame
from stages.core.training.augmenting.table import AUGMENTATIONS
from tests.object_scenes import BOX_SPEC, SPEC, assert_consistent, random_sample, to_numpy, without_masks

pytestmark = pytest.mark.slow

CANVAS = (32, 40)
SIZES = ((30, 50), (1, 1), (40, 20), (64, 64), (7, 90), (33, 31))
COUNTS = (3, 1, 0, 5, 2, 4)
PNG = "groundtruth_instance_masks_png"


def augment(name: str, resize: str, inputs: tuple[dict[str, Any], ...], seed: Any) -> Any:
    return AUGMENTATIONS[name].apply(inputs, seed, 0.5, InputFrame(size=CANVAS, fit=FITS[resize]))


def pipeline(name: str, seeds: tuple[int, ...], *, has_masks: bool, resize: str) -> tf.data.Dataset:
    """Images of several sizes, each augmented with each of the seeds, together with those that follow it."""
    decoded = [random_sample(5 + i, size, count) for i, (size, count) in enumerate(zip(SIZES, COUNTS, strict=True))]
    decoded = decoded if has_masks else [without_masks(sample) for sample in decoded]
    # The decoder gives the PNGs of the masks along with the masks.
    spec = SPEC | {PNG: tf.TensorSpec([None], tf.string)} if has_masks else BOX_SPEC
    for sample in decoded if has_masks else ():
        sample[PNG] = np.asarray([b"png"] * len(sample["groundtruth_classes"]), object)

    def rotated(start: int) -> tf.data.Dataset:
        order = (decoded[start:] + decoded[:start]) * len(seeds)
        return tf.data.Dataset.from_generator(lambda: iter(order), output_signature=spec)

    together = tf.data.Dataset.zip(tuple(rotated(i) for i in range(AUGMENTATIONS[name].num_samples)))
    drawn = tf.data.Dataset.from_tensor_slices([[seed, i] for seed in seeds for i in range(len(SIZES))])
    return tf.data.Dataset.zip((together, drawn)).map(partial(augment, name, resize))


CASES = [
    pytest.param(name, has_masks, resize, id=f"{name}-{'masks' if has_masks else 'boxes'}-{resize}")
    for name, row in AUGMENTATIONS.items()
    for has_masks in (False, True)
    for resize in (FITS if row.num_samples > 1 else ("letterbox",))
    if row.suits(has_masks=has_masks)
]


@pytest.mark.parametrize(("name", "has_masks", "resize"), CASES)
def test_every_row_runs_in_a_pipeline_and_its_seed_decides(name: str, has_masks: bool, resize: str) -> None:
    dataset = pipeline(name, (1, 1, 2), has_masks=has_masks, resize=resize)
    spec = SPEC if has_masks else BOX_SPEC
    assert dataset.element_spec.keys() == spec.keys()
    for key, found in dataset.element_spec.items():
        assert found.dtype == spec[key].dtype, key
        assert found.shape.rank == spec[key].shape.rank, key
    assert dataset.element_spec["image"].shape[2] == 3
    assert dataset.element_spec["groundtruth_boxes"].shape[1] == 4
    augmented = [to_numpy(sample) for sample in dataset]
    for sample in augmented:
        assert_consistent(sample)
    same, again, other = (augmented[start : start + len(SIZES)] for start in range(0, len(augmented), len(SIZES)))
    for one, two in zip(same, again, strict=True):
        for key, value in one.items():
            np.testing.assert_array_equal(value, two[key], err_msg=key)
    assert any(not np.array_equal(one["image"], two["image"]) for one, two in zip(same, other, strict=True))


def test_rows_are_the_parameters() -> None:
    others = {
        "scale_min",
        "scale_max",
        "policy",
        "plain_share",
    }  # of Model Garden's parser, and of the table as a whole
    assert set(AUGMENTATIONS) == set(AugmentationParams.model_fields) - others
