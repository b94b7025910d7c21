"""Rows for resizes that TFLite lacks: gathers for nearest, two matrix products for everything separable."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError
from stages.core.substituting.values import Value
from stages.core.substituting.walker import Rule, Walker

TFLITE_NEAREST = (tf.float32, tf.uint8, tf.int8, tf.int16)


def _cubic(distance: float, sharpness: float) -> float:
    """Keys, "Cubic convolution interpolation for digital image processing" (1981), equation 15 for any sharpness."""
    x = abs(distance)
    if x <= 1:
        return ((sharpness + 2) * x - (sharpness + 3)) * x * x + 1
    return ((sharpness * x - 5 * sharpness) * x + 8 * sharpness) * x - 4 * sharpness if x < 2 else 0.0


def scale_of(source: int, target: int, *, align: bool) -> np.float32:
    """Source cells for each target cell, in TensorFlow's precision."""
    if align and target > 1:
        return np.float32(source - 1) / np.float32(target - 1)
    return np.float32(source) / np.float32(target)


def cubic_weights(source: int, target: int, *, align: bool, half: bool) -> np.ndarray:
    """float32 [target, source] of ResizeBicubic: TensorFlow looks weights up in steps of 1/1024.

    With half-pixel centres, its kernel has Keys' -0.5 and leaves out what lies beyond the border; else -0.75, and the
    border is repeated.
    """
    sharpness, steps = (-0.5 if half else -0.75), 1024
    weights = np.zeros([target, source], np.float64)
    scale = scale_of(source, target, align=align)
    for row in range(target):
        position = np.float32((row + 0.5) * scale - 0.5) if half else np.float32(row * scale)
        first = math.floor(position)
        share = int(np.rint((position - first) * steps)) / steps
        cells = range(first - 1, first + 3)
        values = [float(np.float32(_cubic(share + 1 - tap, sharpness))) for tap in range(4)]
        inside = [min(max(cell, 0), source - 1) for cell in cells]
        if half:
            values = [value if cell == kept else 0.0 for value, cell, kept in zip(values, cells, inside, strict=True)]
            total = sum(values)
            values = [value / total for value in values] if abs(total) >= 1000 * np.finfo(np.float32).tiny else values
        for value, cell in zip(values, inside, strict=True):
            weights[row, cell] += value
    return weights.astype(np.float32)


def area_weights(source: int, target: int, *, align: bool, half: bool) -> np.ndarray:
    """float32 [target, source] of ResizeArea: the mean of what a target cell covers."""
    del half
    scale = float(scale_of(source, target, align=align))
    weights = np.zeros([target, source], np.float64)
    for row in range(target):
        low, high = row * scale, (row + 1) * scale
        for cell in range(math.floor(low), math.ceil(high)):
            covered = min(cell + 1, high) - max(cell, low)
            weights[row, min(cell, source - 1)] += covered / scale
    return weights.astype(np.float32)


def linear_weights(source: int, target: int, *, align: bool, half: bool) -> np.ndarray:
    """float32 [target, source] of ResizeBilinear."""
    scale = scale_of(source, target, align=align)
    weights = np.zeros([target, source], np.float32)
    for row in range(target):
        position = np.float32((np.float32(row) + np.float32(0.5)) * scale - np.float32(0.5)) if half else row * scale
        low = max(math.floor(position), 0)
        high = min(math.ceil(position), source - 1)
        share = np.float32(position - math.floor(position))
        weights[row, low] += np.float32(1) - share
        weights[row, high] += share
    return weights


WEIGHTS: dict[str, Callable[..., np.ndarray]] = {
    "ResizeBicubic": cubic_weights,
    "ResizeArea": area_weights,
    "ResizeBilinear": linear_weights,
}


def resize_separably(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Bicubic, area, and bilinear where TFLite has it not: rows, then columns, as matrix products with constants."""
    image, size = inputs
    if not size.known:
        raise ArtifactError("the new size depends on the image's content")
    align, half = bool(node.attr["align_corners"].b), bool(node.attr["half_pixel_centers"].b)
    raw = walker.tensor(image)
    if node.op == "ResizeBilinear" and raw.dtype == tf.float32:
        return None
    batch, height, width, channels = image.shape
    new_height, new_width = (int(side) for side in size.raw)
    weigh = WEIGHTS[node.op]
    rows = tf.constant(weigh(height, new_height, align=align, half=half))
    columns = tf.constant(weigh(width, new_width, align=align, half=half))
    values = tf.cast(raw, tf.float32)
    flat = tf.reshape(tf.transpose(values, [1, 0, 2, 3]), [height, batch * width * channels])
    down = tf.reshape(tf.matmul(rows, flat), [new_height, batch, width, channels])
    turned = tf.reshape(tf.transpose(down, [2, 1, 0, 3]), [width, batch * new_height * channels])
    both = tf.reshape(tf.matmul(columns, turned), [new_width, batch, new_height, channels])
    return [Value(raw=tf.transpose(both, [1, 2, 0, 3]), axis=image.axis, size=image.size)]


def nearest_cells(source: int, target: int, *, align: bool, half: bool) -> np.ndarray:
    """int32 [target] cells that ResizeNearestNeighbor reads."""
    rows = np.arange(target, dtype=np.float32)
    scale = scale_of(source, target, align=align)
    if half:
        positions = np.floor((rows + np.float32(0.5)) * scale)
    else:
        positions = np.floor(rows * scale + np.float32(0.5)) if align else np.floor(rows * scale)
    return np.asarray(np.clip(positions, 0, source - 1), np.int32)


def resize_nearest(walker: Walker, node: Any, inputs: list[Value]) -> list[Value] | None:
    """Nearest on types that TFLite does not take: two gathers."""
    image, size = inputs
    if not size.known:
        raise ArtifactError("the new size depends on the image's content")
    align, half = bool(node.attr["align_corners"].b), bool(node.attr["half_pixel_centers"].b)
    raw = walker.tensor(image)
    if raw.dtype in TFLITE_NEAREST:
        return None
    _, height, width, _ = image.shape
    rows, columns = (
        nearest_cells(source, int(target), align=align, half=half)
        for source, target in zip((height, width), size.raw, strict=True)
    )
    found = tf.gather(tf.gather(raw, rows, axis=1), columns, axis=2)
    return [Value(raw=found, axis=image.axis, size=image.size)]


RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(WEIGHTS, (resize_separably,)),
    "ResizeNearestNeighbor": (resize_nearest,),
}
