"""Mosaic: four images around a random centre, so that a batch shows more objects in more surroundings."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from stages.core.training.augmenting.patch import (
    Fit,
    Patch,
    draw_offset,
    letterbox,
    pad_to_canvas,
    place_objects,
    resize_window,
    visible_shares,
)
from stages.core.training.augmenting.sample import (
    BOXES,
    FILL,
    IMAGE,
    Sample,
    drop_encoded_masks,
    frame_of,
    join_objects,
    with_image,
)

MOSAIC_IMAGES = 4
MIN_SIDE = 4
"""Below, a quadrant could be empty."""
MIN_VISIBLE = 0.2


def make_mosaic(
    samples: Sequence[Sample],
    seed: Any,
    *,
    size: tuple[int, int],
    min_visible: float = MIN_VISIBLE,
    fit: Fit = letterbox,
) -> Sample:
    """Four images as the quadrants of one.

    The corner at which they meet lies in the middle half of the canvas. Each image is scaled as if it alone were to fit
    the canvas, so that objects are as large as without a mosaic; of one that is then larger than its quadrant a random
    window is used, a smaller one adjoins the centre and is surrounded by grey. Source: Bochkovskiy et al., YOLOv4
    (2020), section 3.3.

    A window has whole pixels in its image and on the canvas, so its scale differs from that of the whole image by up to
    a pixel per window.

    Args:
      samples: Exactly four, upper left, upper right, lower left, lower right; see `sample.py`. All with masks or none.
      seed: int32 [2].
      size: Height and width of the canvas in pixels, both at least 4.
      min_visible: Objects with less than this share of their box's area in the window are dropped: 0..1.
      fit: How an image alone would be scaled to the canvas.

    Returns:
      A sample of that size; what belongs to images, such as `source_id`, is the first sample's.

    Raises:
      ValueError: if there are not four samples, or if the canvas is too small.
    """
    if len(samples) != MOSAIC_IMAGES:
        raise ValueError(f"{len(samples)} samples; a mosaic takes {MOSAIC_IMAGES}")
    if min(size) < MIN_SIDE:
        raise ValueError(f"size is {size}; both sides must be at least {MIN_SIDE}")
    samples = [drop_encoded_masks(sample) for sample in samples]
    seeds = tf.unstack(tf.random.split(seed, MOSAIC_IMAGES + 1))
    canvas = tf.constant(size, tf.int32)
    center = canvas // 4 + draw_offset(canvas // 2, seeds[0])
    tiles, placed = [], []
    for index, sample in enumerate(samples):
        row, column = divmod(index, 2)
        corner, quadrant = _quadrant(center, canvas, row, column)
        patch = _fill_quadrant(
            frame_of(sample), quadrant, fit(frame_of(sample), canvas), (row, column), seeds[index + 1]
        )
        tiles.append(pad_to_canvas(resize_window(sample[IMAGE], patch), patch, leading=0, trailing=1, fill=FILL))
        shares = visible_shares(sample[BOXES], frame_of(sample), patch)
        on_canvas = replace(patch, corner=corner + patch.corner, canvas=canvas)
        placed.append(place_objects(sample, on_canvas, shares >= min_visible))
    rows = [tf.concat(tiles[:2], axis=1), tf.concat(tiles[2:], axis=1)]
    image = tf.ensure_shape(tf.concat(rows, axis=0), [*size, 3])
    return with_image(samples[0] | join_objects(*placed), image)


def _quadrant(center: Any, canvas: Any, row: int, column: int) -> tuple[Any, Any]:
    """Upper left corner and sides of a quadrant: two int32 [2]."""
    lower = tf.constant([row, column])
    return lower * center, tf.where(lower == 1, canvas - center, center)


def _fill_quadrant(size: Any, quadrant: Any, whole: Any, lower: tuple[int, int], seed: Any) -> Patch:
    """A random window of an image that fills its quadrant as far as the image, in its `whole` size, is large enough."""
    tile = tf.minimum(whole, quadrant)
    needed = tf.cast(tf.round(tf.cast(quadrant * size, tf.float32) / tf.cast(whole, tf.float32)), tf.int32)
    extent = tf.where(whole <= quadrant, size, tf.clip_by_value(needed, 1, size))
    return Patch(
        start=draw_offset(size - extent, seed),
        extent=extent,
        tile=tile,
        corner=tf.where(tf.constant(lower) == 1, 0, quadrant - tile),
        canvas=quadrant,
    )
