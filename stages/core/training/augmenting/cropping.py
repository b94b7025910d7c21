"""Random crops as in SSD: objects seen from nearer, and cut at the edge."""

from typing import Any

import tensorflow as tf

from stages.core.training.augmenting.patch import Patch, cut_out
from stages.core.training.augmenting.sample import BOXES, IS_CROWD, Sample, drop_encoded_masks, frame_of

MIN_COVERED = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""Least shares of some object that a crop must hold, one of which is drawn; a seventh choice is the whole image."""
MAX_ATTEMPTS = 50


def crop_randomly(
    sample: Sample, seed: Any, *, area: tuple[float, float] = (0.1, 1.0), aspect: tuple[float, float] = (0.5, 2.0)
) -> Sample:
    """Cuts a random window out of an image, and keeps the objects whose centre lies in it.

    The window must hold a share of at least one object that is not a crowd; the share is drawn from `MIN_COVERED`.
    Where no such window is found, and where none of the objects would be left, the image stays whole. Source: Liu et
    al., SSD (ECCV 2016), section 2.2. As in the TF Object Detection API's version of it, the overlap is the covered
    share of the object, not the IoU: an IoU of 0.9 with a small object would ask for a window no larger than that.

    Args:
      sample: See `sample.py`.
      seed: int32 [2].
      area: Least and largest area of the window, as shares of the image: 0 < least <= largest <= 1.
      aspect: Least and largest ratio of the window's width to its height in pixels.
    """
    sample = drop_encoded_masks(sample)
    choice_seed, window_seed = tf.unstack(tf.random.split(seed, 2))
    size = frame_of(sample)
    choice = tf.random.stateless_uniform([], choice_seed, 0, len(MIN_COVERED) + 1, tf.int32)
    drawn = _draw_window(sample, window_seed, tf.gather([*MIN_COVERED, 0.0], choice), area=area, aspect=aspect)
    centers = (sample[BOXES][:, :2] + sample[BOXES][:, 2:]) / 2 * tf.cast(size, tf.float32)
    start, extent = tf.unstack(tf.cast(drawn, tf.float32))
    inside = tf.reduce_all((centers >= start) & (centers < start + extent), axis=1)
    is_whole = (choice == len(MIN_COVERED)) | (tf.size(inside) > 0) & ~tf.reduce_any(inside)
    start, extent = tf.unstack(tf.where(is_whole, tf.stack([tf.zeros_like(size), size]), drawn))
    patch = Patch(start=start, extent=extent, tile=extent, corner=tf.zeros_like(size), canvas=extent)
    return cut_out(sample, patch, is_whole | inside)


def _draw_window(
    sample: Sample, seed: Any, min_covered: Any, *, area: tuple[float, float], aspect: tuple[float, float]
) -> Any:
    """A window as int32 [2, 2], (start, extent); the whole image if none is found."""
    boxes = tf.clip_by_value(tf.boolean_mask(sample[BOXES], ~sample[IS_CROWD]), 0.0, 1.0)
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([frame_of(sample), [3]], axis=0),
        boxes[None],
        seed,
        # Without objects, the op takes the whole image for one, and would find hardly any window that holds most of it.
        min_object_covered=tf.where(tf.size(boxes) > 0, min_covered, 0.0),
        aspect_ratio_range=aspect,
        area_range=area,
        max_attempts=MAX_ATTEMPTS,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.stack([begin[:2], extent[:2]])
