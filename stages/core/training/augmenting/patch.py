"""A patch: which part of an image goes where on a canvas; the geometry that crop, mosaic, mix-up and pasting share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from stages.core.training.augmenting.sample import (
    AREA,
    BOXES,
    IMAGE,
    MASKS,
    OBJECT_PREFIX,
    Sample,
    fit_to_masks,
    frame_of,
    select_objects,
    with_image,
)

Fit = Callable[[Any, Any], Any]


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A window of an image, resized to a tile that lies on a canvas; everything int32 [2], (y, x), in pixels.

    Attributes:
      start: Upper left corner of the window.
      extent: Sides of the window, at least 1.
      tile: Sides that the window is resized to, at least 1; the very `extent` if it is not resized.
      corner: Upper left corner of the tile on the canvas.
      canvas: Sides of the canvas; the tile lies in it as a whole.
    """

    start: Any
    extent: Any
    tile: Any
    corner: Any
    canvas: Any


def letterbox(size: Any, canvas: Any) -> Any:
    """Largest sides of the same aspect that fit: what Model Garden's parsers resize an image to.

    Args:
      size: int32 [2], (y, x).
      canvas: int32 [2], (y, x).

    Returns:
      int32 [2], at least 1.
    """
    sides = tf.cast(size, tf.float32)
    scale = tf.reduce_min(tf.cast(canvas, tf.float32) / sides)
    return tf.clip_by_value(tf.cast(tf.round(sides * scale), tf.int32), 1, canvas)


def fill(size: Any, canvas: Any) -> Any:
    """The canvas itself: what a training with `resize: stretch` resizes an image of any aspect to."""
    del size
    return canvas


FITS: dict[str, Fit] = {"letterbox": letterbox, "stretch": fill}
"""`resize` of a training to the sides that a whole image has on a canvas."""


@dataclass(frozen=True, kw_only=True)
class InputFrame:
    """The network's input, as far as augmentations must know it.

    Attributes:
      size: (height, width) in pixels.
      fit: Sides of an image, and sides of the canvas, to the sides that the image is resized to: int32 [2] each.
    """

    size: tuple[int, int]
    fit: Fit


def draw_offset(slack: Any, seed: Any) -> Any:
    """Uniform in 0..slack, both included: int32 [2]."""
    room = tf.cast(slack + 1, tf.float32)
    # A draw just below 1 may round up to `room` itself.
    return tf.minimum(tf.cast(tf.random.stateless_uniform([2], seed) * room, tf.int32), slack)


def fit_in_frame(sample: Sample, canvas: Any, seed: Any, fit: Fit) -> Patch:
    """The whole image in the size that `fit` gives it, at a random position on the canvas."""
    size = frame_of(sample)
    tile = fit(size, canvas)
    return Patch(
        start=tf.zeros([2], tf.int32),
        extent=size,
        tile=tile,
        corner=draw_offset(canvas - tile, seed),
        canvas=canvas,
    )


def resize_window(image: Any, patch: Patch) -> Any:
    """The pixels of the tile: uint8 [tile_h, tile_w, 3]. The pixels outside the window are never resized."""
    window = tf.slice(image, tf.pad(patch.start, [[0, 1]]), tf.concat([patch.extent, [3]], axis=0))
    if patch.tile is patch.extent:
        return window
    resized = tf.image.resize(window, patch.tile)
    # Bilinear interpolation stays within 0..255: to round, no clipping is needed.
    return tf.cast(resized + 0.5, tf.uint8)


def pad_to_canvas(values: Any, patch: Patch, *, leading: int, trailing: int, fill: int) -> Any:
    """A tile, with `leading` axes before height and width and `trailing` after, padded to the canvas."""
    before, after = patch.corner, patch.canvas - patch.corner - patch.tile
    paddings = tf.pad(tf.stack([before, after], axis=1), [[leading, trailing], [0, 0]])
    return tf.pad(values, paddings, constant_values=tf.cast(fill, values.dtype))


def visible_shares(boxes: Any, size: Any, patch: Patch) -> Any:
    """Share of each box's area that lies in the window: float32 [n], 0..1; 0 for a box without area.

    Args:
      boxes: float32 [n, 4] of the whole image, 0..1.
      size: int32 [2], of the whole image.
    """
    pixels, clipped = _clip_to_window(boxes, size, patch)
    return tf.math.divide_no_nan(_areas(clipped), _areas(pixels))


def place_objects(sample: Sample, patch: Patch, keep: Any) -> Sample:
    """Those objects of a sample that have area in the window, as they lie on the canvas.

    Boxes are clipped; objects that are cut get the tight boxes of their masks, if there are masks.

    Args:
      keep: bool [n]: further objects to leave out.

    Returns:
      The keys that belong to objects, and those alone; masks are [m, canvas_h, canvas_w].
    """
    pixels, clipped = _clip_to_window(sample[BOXES], frame_of(sample), patch)
    scale = tf.cast(patch.tile, tf.float32) / tf.cast(patch.extent, tf.float32)
    placed = clipped * tf.tile(scale, [2]) + tf.cast(tf.tile(patch.corner, [2]), tf.float32)
    shares = tf.math.divide_no_nan(_areas(clipped), _areas(pixels))
    boxes = tf.clip_by_value(placed / tf.cast(tf.tile(patch.canvas, [2]), tf.float32), 0.0, 1.0)
    objects = {key: value for key, value in sample.items() if key.startswith(OBJECT_PREFIX)}
    objects |= {BOXES: boxes, AREA: sample[AREA] * shares * scale[0] * scale[1]}
    if MASKS in sample:
        zero = tf.zeros([1], tf.int32)
        begin, size = tf.concat([zero, patch.start], axis=0), tf.concat([zero - 1, patch.extent], axis=0)
        objects[MASKS] = tf.slice(sample[MASKS], begin, size)
    # Edges are compared where they are stored: a sliver may have area in pixels and none after rounding.
    kept = keep & tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=1)
    objects = select_objects(objects, kept)
    if MASKS in sample:
        objects[MASKS] = _place_masks(objects[MASKS], patch)
    return fit_to_masks(objects, tf.boolean_mask(tf.reduce_any(pixels != clipped, axis=1), kept))


def cut_out(sample: Sample, patch: Patch, keep: Any) -> Sample:
    """A sample that consists of one window, not resized: see `place_objects`."""
    return with_image(sample | place_objects(sample, patch, keep), resize_window(sample[IMAGE], patch))


def _place_masks(masks: Any, patch: Patch) -> Any:
    """Masks of a window, [m, extent_h, extent_w], on the canvas."""
    if patch.tile is not patch.extent:
        # The op refuses an image without channels.
        masks = tf.cond(
            tf.shape(masks)[0] > 0,
            lambda: _resize_masks(masks, patch.tile),
            lambda: tf.zeros(tf.concat([[0], patch.tile], axis=0), masks.dtype),
        )
    if patch.canvas is patch.tile:
        return masks
    return pad_to_canvas(masks, patch, leading=1, trailing=0, fill=0)


def _resize_masks(masks: Any, size: Any) -> Any:
    """Masks [m, h, w] at another size, m at least 1, each pixel that of the nearest."""
    # As the channels of one image: the op copies pixel by pixel, here all masks of a pixel at once. That is two to four
    # times as fast, transposing included.
    planes = tf.image.resize(tf.transpose(masks, [1, 2, 0]), size, method="nearest")
    return tf.transpose(planes, [2, 0, 1])


def _clip_to_window(boxes: Any, size: Any, patch: Patch) -> tuple[Any, Any]:
    """Boxes in pixels from the window's corner, whole and clipped: two float32 [n, 4]."""
    pixels = boxes * tf.cast(tf.tile(size, [2]), tf.float32) - tf.cast(tf.tile(patch.start, [2]), tf.float32)
    return pixels, tf.clip_by_value(pixels, 0.0, tf.cast(tf.tile(patch.extent, [2]), tf.float32))


def _areas(boxes: Any) -> Any:
    """Areas of float32 [n, 4] boxes: float32 [n]."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return sides[:, 0] * sides[:, 1]
