"""The augmentation of a training by its configuration, applied to the endless dataset of decoded samples."""

from typing import Any

import tensorflow as tf

from stages.core.training.augmenting.patch import InputFrame
from stages.core.training.augmenting.sample import MASKS, Sample, drop_encoded_masks
from stages.core.training.augmenting.table import AUGMENTATIONS

SEVERAL = 2
"""A train split of fewer times as many images as a mixture takes gives the same mixtures again and again."""


def augment_dataset(
    dataset: tf.data.Dataset, config: Any, *, flip: bool, frame: InputFrame, share_done: tf.Variable, seed: int
) -> tf.data.Dataset:
    """The dataset with every sample changed at random, by the rows of `AUGMENTATIONS` that are switched on.

    Args:
      dataset: Endless and shuffled, of decoded samples.
      config: `AugmentationConfig`.
      flip: Whether images are flipped from left to right.
      frame: The network's input: the canvas of mosaics, and how images are resized to it.
      share_done: float32 variable, 0..1: how much of the training is done.
      seed: The same seed gives the same changes.
    """
    dataset = dataset.map(drop_encoded_masks)
    has_masks = MASKS in dataset.element_spec
    amounts = {name: float(flip if name == "horizontal_flip" else getattr(config, name)) for name in AUGMENTATIONS}
    rows = [(row, amounts[name]) for name, row in AUGMENTATIONS.items() if amounts[name]]
    rows = [(row, amount) for row, amount in rows if row.suits(has_masks=has_masks)]
    groups = _with_followers(dataset, max((row.num_samples for row, _ in rows), default=1) - 1)

    def change(number: tf.Tensor, samples: tuple[Sample, ...]) -> Sample:
        sample = samples[0]
        plain = share_done >= 1.0 - config.plain_share
        seeds = tf.random.split(tf.stack([tf.constant(seed, tf.int64), number]), num=2 * len(AUGMENTATIONS))
        for index, (row, amount) in enumerate(rows):
            inputs = (sample, *samples[1 : row.num_samples])
            chance = 1.0 if row.is_strength else amount
            chosen = tf.random.stateless_uniform([], seeds[2 * index]) < chance
            if row.num_samples > 1:
                chosen &= ~plain
            sample = _either(chosen, row, inputs, seeds[2 * index + 1], amount, frame)
        return sample

    return tf.data.Dataset.zip((tf.data.Dataset.counter(), groups)).map(change, num_parallel_calls=tf.data.AUTOTUNE)


def check_augmentation(config: Any, num_images: int) -> list[str]:
    """Warnings about what cannot work as it is meant; the training goes on without it.

    Args:
      config: `task` of the experiment.
      num_images: Images of the train split.
    """
    has_masks, notes = getattr(config.model, "include_mask", False), []
    for name, row in AUGMENTATIONS.items():
        if not getattr(config.augmentation, name, False):
            continue
        if not row.suits(has_masks=has_masks):
            kind = "with" if row.masks else "without"
            notes.append(f"warning: augmentation.{name} is for detectors {kind} masks: not used here")
        elif row.num_samples > 1 and num_images < SEVERAL * row.num_samples:
            notes.append(
                f"warning: augmentation.{name} puts {row.num_samples} images together, and the train split has "
                f"{num_images}: it will show the same ones again and again"
            )
    return notes


def _either(
    chosen: tf.Tensor, row: Any, inputs: tuple[Sample, ...], seed: tf.Tensor, amount: float, frame: InputFrame
) -> Sample:
    """The augmentation of the first sample, or that sample."""
    return dict(tf.cond(chosen, lambda: row.apply(inputs, seed, amount, frame), lambda: dict(inputs[0])))


def _with_followers(dataset: tf.data.Dataset, number: int) -> tf.data.Dataset:
    """Tuples of each sample and the `number` of samples that come after it. Nothing is decoded twice for it."""
    if not number:
        return dataset.map(lambda sample: (sample,))
    windows = dataset.window(number + 1, shift=1, drop_remainder=True)

    def unite(window: dict[str, tf.data.Dataset]) -> tf.data.Dataset:
        samples = tf.data.Dataset.zip(window)
        return tf.data.Dataset.zip(tuple(samples.skip(index) for index in range(number + 1))).take(1)

    return windows.flat_map(unite)
