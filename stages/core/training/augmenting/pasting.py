"""Copy-paste: objects of one image, cut out along their masks, on another image."""

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
    IMAGE,
    IS_CROWD,
    MASKS,
    Sample,
    drop_encoded_masks,
    fit_to_masks,
    frame_of,
    join_objects,
    with_image,
)


def copy_paste(target: Sample, source: Sample, seed: Any, *, max_objects: int, fit: Fit = letterbox) -> Sample:
    """Pastes objects of `source` onto `target`.

    The source is scaled to fit the target's frame and lies at a random position in it. How many objects are pasted is
    uniform in 1..max_objects, as far as there are as many that are no crowds; which ones is random. Of what they cover,
    masks are cut, boxes and areas follow, and objects of which nothing is left are dropped. Source: Ghiasi et al.,
    Simple Copy-Paste (CVPR 2021), without the blurred edges, which made no difference there.

    Args:
      target: See `sample.py`; the result has its size and whatever else belongs to an image.
      source: Another sample.
      seed: int32 [2].
      max_objects: At least 1.
      fit: How the source is scaled to the target's frame.

    Raises:
      ValueError: if a sample has no masks, or max_objects is below 1.
    """
    if MASKS not in target or MASKS not in source:
        raise ValueError(f"copy_paste needs {MASKS}")
    if max_objects < 1:
        raise ValueError(f"max_objects is {max_objects}; it must be at least 1")
    target, source = drop_encoded_masks(target), drop_encoded_masks(source)
    choice_seed, position_seed = tf.unstack(tf.random.split(seed, 2))
    patch = fit_in_frame(source, frame_of(target), position_seed, fit)
    pasted = place_objects(source, patch, _choose(~source[IS_CROWD], max_objects, choice_seed))
    covered = tf.reduce_any(pasted[MASKS] > 0, axis=0)
    pixels = pad_to_canvas(resize_window(source[IMAGE], patch), patch, leading=0, trailing=1, fill=0)
    image = tf.where(covered[..., None], pixels, target[IMAGE])
    remaining = target[MASKS] * tf.cast(~covered, target[MASKS].dtype)
    is_cut = tf.reduce_any((target[MASKS] > 0) & covered, axis=[1, 2])
    kept = fit_to_masks(target | {MASKS: remaining}, is_cut)
    return with_image(join_objects(kept, pasted), tf.ensure_shape(image, target[IMAGE].shape))


def _choose(eligible: Any, max_objects: int, seed: Any) -> Any:
    """Marks a random number, 1..max_objects at most, of those that are eligible: bool [n]."""
    count_seed, order_seed = tf.unstack(tf.random.split(seed, 2))
    count = tf.random.stateless_uniform([], count_seed, 1, max_objects + 1, tf.int32)
    draws = tf.random.stateless_uniform(tf.shape(eligible), order_seed)
    ranks = tf.argsort(tf.argsort(tf.where(eligible, draws, 2.0)))
    return eligible & (ranks < count)
