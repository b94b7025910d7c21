"""The augmentation of a training by its configuration, applied to the endless dataset of decoded samples."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from stages.core.training.augmenting.colors import jitter_colors
from stages.core.training.augmenting.cropping import crop_randomly
from stages.core.training.augmenting.flips import flip_horizontally, turn_quarters
from stages.core.training.augmenting.mixing import mix_up
from stages.core.training.augmenting.mosaic import MOSAIC_IMAGES, make_mosaic
from stages.core.training.augmenting.pasting import copy_paste
from stages.core.training.augmenting.sample import MASKS, Sample, drop_encoded_masks

MIX_UP_ALPHA = 8.0
"""Of the Beta distribution, so that both images stay visible, as in YOLOX."""
MOST_PASTED = 10
COLOR_STRENGTHS = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.7, "hue": 0.05}
"""What `color_jitter: 1` stands for; hue is a share of the colour circle."""


def augment_dataset(
    dataset: tf.data.Dataset, config: Any, *, flip: bool, size: tuple[int, int], share_done: tf.Variable, seed: int
) -> tf.data.Dataset:
    """The dataset with every sample changed at random.

    Args:
      dataset: Endless, of decoded samples.
      config: `AugmentationConfig`.
      flip: Whether images are flipped from left to right.
      size: (height, width) of the network's input: the canvas of mosaics.
      share_done: float32 variable, 0..1: how much of the training is done.
      seed: The same seed gives the same changes.
    """
    if partners := _num_samples(config) - 1:
        # The partners of a sample are those that follow it: the dataset is shuffled.
        dataset = dataset.map(drop_encoded_masks)
        dataset = tf.data.Dataset.zip(tuple(dataset.skip(number) for number in range(partners + 1)))
    else:
        dataset = dataset.map(lambda sample: (drop_encoded_masks(sample),))
    numbered = tf.data.Dataset.zip((tf.data.Dataset.counter(), dataset))

    def change(number: tf.Tensor, samples: tuple[Sample, ...]) -> Sample:
        seeds = tf.random.split(tf.stack([tf.constant(seed, tf.int64), number]), num=8)
        plain = share_done >= 1.0 - config.plain_share
        sample = _mix(samples, config, seeds, plain=plain, size=size)
        return _change_one(sample, config, seeds[4:], flip=flip)

    return numbered.map(change, num_parallel_calls=tf.data.AUTOTUNE)


def check_augmentation(config: Any, num_images: int) -> list[str]:
    """Warnings about what cannot work as it is meant; the training goes on without it.

    Args:
      config: `task` of the experiment.
      num_images: Images of the train split.
    """
    augmentation, has_masks = config.augmentation, getattr(config.model, "include_mask", False)
    notes = []
    if augmentation.mosaic and num_images < 2 * MOSAIC_IMAGES:
        notes.append(
            f"warning: augmentation.mosaic puts {MOSAIC_IMAGES} images together, and the train split has {num_images}: "
            "every mosaic will show the same ones"
        )
    if augmentation.mix_up and has_masks:
        notes.append("warning: augmentation.mix_up is for detectors without masks: not used here")
    if augmentation.copy_paste and not has_masks:
        notes.append("warning: augmentation.copy_paste is for detectors with masks: not used here")
    return notes


def _num_samples(config: Any) -> int:
    return MOSAIC_IMAGES if config.mosaic else 2 if config.mix_up or config.copy_paste else 1


def _mix(
    samples: tuple[Sample, ...], config: Any, seeds: tf.Tensor, *, plain: tf.Tensor, size: tuple[int, int]
) -> Sample:
    """One sample out of several, or the first of them."""
    sample = samples[0]
    has_masks = MASKS in sample

    def now_and_then(sample: Sample, probability: float, seed: tf.Tensor, mix: Callable[[tf.Tensor], Sample]) -> Sample:
        parts = tf.random.split(seed)
        chosen = (tf.random.stateless_uniform([], parts[0]) < probability) & ~plain
        return tf.cond(chosen, lambda: mix(parts[1]), lambda: sample)  # type: ignore[no-any-return]

    if config.mosaic:
        sample = now_and_then(sample, config.mosaic, seeds[0], lambda s: make_mosaic(samples, s, size=size))
    if config.copy_paste and has_masks:
        before = sample
        sample = now_and_then(
            before, config.copy_paste, seeds[1], lambda s: copy_paste(before, samples[1], s, max_objects=MOST_PASTED)
        )
    if config.mix_up and not has_masks:
        other = sample
        sample = now_and_then(
            other, config.mix_up, seeds[2], lambda s: mix_up(other, samples[1], s, alpha=MIX_UP_ALPHA)
        )
    return sample


def _change_one(sample: Sample, config: Any, seeds: tf.Tensor, *, flip: bool) -> Sample:
    """What changes a sample by itself, cheap things last."""
    if config.random_crop:
        parts, before = tf.random.split(seeds[0]), sample
        chosen = tf.random.stateless_uniform([], parts[0]) < config.random_crop
        sample = tf.cond(chosen, lambda: crop_randomly(before, parts[1]), lambda: before)
    if config.orientation_free:
        sample = turn_quarters(sample, seeds[1])
    if flip or config.orientation_free:  # after a random turn, one flip reaches all eight orientations
        sample = flip_horizontally(sample, seeds[2])
    if config.color_jitter:
        strengths = {name: config.color_jitter * value for name, value in COLOR_STRENGTHS.items()}
        sample = jitter_colors(sample, seeds[3], **strengths)
    return sample
