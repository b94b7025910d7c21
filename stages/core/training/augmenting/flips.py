"""Mirrored and turned images: exact, no pixel is interpolated.

Quarter turns are for images without an up and a down, such as micrographs and aerial photographs.
"""

from typing import Any

import tensorflow as tf

from stages.core.training.augmenting.sample import BOXES, IMAGE, MASKS, Sample, drop_encoded_masks, with_image

VERTICAL, HORIZONTAL = 0, 1
"""Axes of an image along which it is mirrored."""


def flip_horizontally(sample: Sample, seed: Any) -> Sample:
    """Swaps left and right with probability 0.5.

    Args:
      sample: See `sample.py`.
      seed: int32 [2].
    """
    return _flip(sample, seed, HORIZONTAL)


def flip_vertically(sample: Sample, seed: Any) -> Sample:
    """Swaps top and bottom with probability 0.5; arguments as `flip_horizontally`."""
    return _flip(sample, seed, VERTICAL)


def turn_quarters(sample: Sample, seed: Any) -> Sample:
    """Turns by 0, 90, 180 or 270 degrees counter-clockwise, all equally likely; arguments as `flip_horizontally`."""
    sample = drop_encoded_masks(sample)
    turns = (
        lambda: with_image(sample, sample[IMAGE]),
        lambda: _mirror(_transpose(sample), VERTICAL),
        lambda: _mirror(_mirror(sample, VERTICAL), HORIZONTAL),
        lambda: _mirror(_transpose(sample), HORIZONTAL),
    )
    return dict(tf.switch_case(tf.random.stateless_uniform([], seed, 0, len(turns), tf.int32), turns))


def _flip(sample: Sample, seed: Any, axis: int) -> Sample:
    sample = drop_encoded_masks(sample)
    flips = tf.random.stateless_uniform([], seed) < 0.5
    return dict(tf.cond(flips, lambda: _mirror(sample, axis), lambda: with_image(sample, sample[IMAGE])))


def _mirror(sample: Sample, axis: int) -> Sample:
    """The sample mirrored along one axis of its image."""
    low, high = sample[BOXES][:, axis], sample[BOXES][:, axis + 2]
    edges = list(tf.unstack(sample[BOXES], axis=1))
    edges[axis], edges[axis + 2] = 1.0 - high, 1.0 - low
    mirrored = with_image(sample, tf.reverse(sample[IMAGE], [axis])) | {BOXES: tf.stack(edges, axis=1)}
    if MASKS in sample:
        mirrored[MASKS] = tf.reverse(sample[MASKS], [axis + 1])
    return mirrored


def _transpose(sample: Sample) -> Sample:
    """The sample with rows and columns swapped."""
    boxes = tf.gather(sample[BOXES], [1, 0, 3, 2], axis=1)
    swapped = with_image(sample, tf.transpose(sample[IMAGE], [1, 0, 2])) | {BOXES: boxes}
    if MASKS in sample:
        swapped[MASKS] = tf.transpose(sample[MASKS], [0, 2, 1])
    return swapped
