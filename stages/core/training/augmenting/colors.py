"""Random brightness, contrast, saturation and hue as one affine map of a pixel's colour."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.training.augmenting.sample import IMAGE, Sample, drop_encoded_masks

RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""Luma (ITU-R BT.601) and the two chroma axes of NTSC."""
MEAN_STRIDE = 4
"""The mean luma of an image is taken over every fourth row and column: a sixteenth of the time."""


def jitter_colors(
    sample: Sample, seed: Any, *, brightness: float, contrast: float, saturation: float, hue: float
) -> Sample:
    """Changes the colours of an image at random; its objects stay as they are.

    All four are linear in RGB: brightness is a factor, contrast a blend with the mean grey of the image, saturation a
    factor of the chroma and hue a rotation of it. So they are one 3x3 matrix and one offset, which costs a matrix
    product per image where a way through HSV costs several passes with branches. The order of the four does not
    matter, and values are clipped once, at the end. Source: Haeberli, Matrix Operations for Image Processing (1993),
    with the chroma plane of YIQ.

    Args:
      sample: See `sample.py`.
      seed: int32 [2].
      brightness: Factors are uniform in 1 - brightness..1 + brightness; so they are for contrast and saturation. All
        strengths are 0..1; 0 is off.
      hue: Angles are uniform in -180..180 degrees, times `hue`.

    Raises:
      ValueError: if a strength is not in 0..1.
    """
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
    for name, strength in strengths.items():
        if not 0 <= strength <= 1:
            raise ValueError(f"{name} is {strength}; allowed: 0..1")
    sample = drop_encoded_masks(sample)
    if not any(strengths.values()):
        return sample
    draws = tf.unstack(tf.random.stateless_uniform([4], seed, -1.0, 1.0))
    gain = 1.0 + brightness * draws[0]
    image = tf.cast(sample[IMAGE], tf.float32)
    offset: Any = 0.0
    if contrast:
        factor = 1.0 + contrast * draws[1]
        offset = (1.0 - factor) * gain * _mean_luma(image)
        gain = gain * factor
    if saturation or hue:
        matrix = gain * _chroma_matrix(1.0 + saturation * draws[2], math.pi * hue * draws[3])
        changed = tf.reshape(tf.matmul(tf.reshape(image, [-1, 3]), matrix, transpose_b=True), tf.shape(image))
    else:
        changed = image * gain
    # The cast drops the fraction: half a level more, and it rounds.
    changed = tf.clip_by_value(changed + (offset + 0.5), 0.0, 255.0)
    return {**sample, IMAGE: tf.ensure_shape(tf.cast(changed, tf.uint8), sample[IMAGE].shape)}


def _mean_luma(image: Any) -> Any:
    """Mean luma of float32 [h, w, 3]: a float32 scalar, 0..255."""
    means = tf.reduce_mean(image[::MEAN_STRIDE, ::MEAN_STRIDE], axis=[0, 1])
    return tf.reduce_sum(means * RGB_TO_YIQ[0])


def _chroma_matrix(factor: Any, angle: Any) -> Any:
    """The map of RGB that scales the chroma by `factor` and turns it by `angle` (radians): float32 [3, 3]."""
    forward = np.asarray(RGB_TO_YIQ)
    cosine, sine = factor * tf.cos(angle), factor * tf.sin(angle)
    zero, one = tf.zeros([]), tf.ones([])
    turn = tf.stack([[one, zero, zero], [zero, cosine, -sine], [zero, sine, cosine]])
    return np.linalg.inv(forward).astype(np.float32) @ turn @ forward.astype(np.float32)
