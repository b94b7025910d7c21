"""Mix-up: two images blended into one, with the objects of both."""

from typing import Any

import tensorflow as tf

from stages.core.training.augmenting.patch import (
    Fit,
    fit_in_frame,
    letterbox,
    pad_to_canvas,
    place_objects,
    resize_window,
)
from stages.core.training.augmenting.sample import (
    CLASSES,
    FILL,
    IMAGE,
    Sample,
    drop_encoded_masks,
    frame_of,
    join_objects,
    with_image,
)

MIN_WEIGHT = 0.25
"""Least weight of either image: the losses know no weight per object, so every labelled object must be visible."""


def mix_up(first: Sample, second: Sample, seed: Any, *, alpha: float, fit: Fit = letterbox) -> Sample:
    """The first image blended with the second, which is scaled to fit it and lies at a random position on grey.

    The first's weight is drawn from Beta(alpha, alpha), within `MIN_WEIGHT` and 1 - `MIN_WEIGHT`. Source: Zhang et al.,
    mixup (ICLR 2018); for detection, with the objects of both at full weight, Ge et al., YOLOX (2021).

    Args:
      first: See `sample.py`; the result has its size and whatever else belongs to an image.
      second: With masks if the first has masks.
      seed: int32 [2].
      alpha: Above 0; 1 is uniform, larger values are nearer to one half each.
      fit: How the second is scaled to the first's frame.

    Raises:
      ValueError: if alpha is not above 0.
    """
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}; it must be above 0")
    first, second = drop_encoded_masks(first), drop_encoded_masks(second)
    weight_seed, position_seed = tf.unstack(tf.random.split(seed, 2))
    weight = _draw_weight(alpha, weight_seed)
    patch = fit_in_frame(second, frame_of(first), position_seed, fit)
    other = pad_to_canvas(resize_window(second[IMAGE], patch), patch, leading=0, trailing=1, fill=FILL)
    ours = tf.cast(first[IMAGE], tf.float32)
    blended = tf.cast(weight * ours + (1.0 - weight) * tf.cast(other, tf.float32) + 0.5, tf.uint8)
    everything = tf.ones_like(second[CLASSES], tf.bool)
    joined = join_objects(first, place_objects(second, patch, everything))
    return with_image(joined, tf.ensure_shape(blended, first[IMAGE].shape))


def _draw_weight(alpha: float, seed: Any) -> Any:
    """Beta(alpha, alpha), clipped: a float32 scalar."""
    gammas = tf.random.stateless_gamma([2], seed, alpha)
    # Both may underflow to 0 where alpha is small.
    weight = tf.math.divide_no_nan(gammas[0], gammas[0] + gammas[1])
    return tf.clip_by_value(weight, MIN_WEIGHT, 1.0 - MIN_WEIGHT)
