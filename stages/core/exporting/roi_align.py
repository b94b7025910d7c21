"""RoIAlign over a feature pyramid as static gathers without batch dimensions (the batch is 1).

He et al., "Mask R-CNN" (ICCV 2017); numbers as Model Garden's `multilevel_crop_and_resize` gives them, averaged where a
cell has several samples (`stages/core/detectors/region_sampling.py`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

# Lin et al., "Feature Pyramid Networks" (CVPR 2017): a box of this side is looked up at this level.
CANONICAL_SIDE, CANONICAL_LEVEL = 224.0, 4


class PyramidTable:
    """A feature pyramid as one table of cells.

    Attributes:
      cells: float32 [sum of height * width over levels, channels].
      strides, heights, widths, offsets: float32 [levels]; `offsets` is each level's first row in `cells`.
      thresholds: Box areas from which on the next coarser level is used.
      value_range: (lowest, highest) value of the features, where training has rounded them; else None.
    """

    def __init__(self, features: Mapping[str, Any], value_range: tuple[float, float] | None = None) -> None:
        levels = sorted(int(level) for level in features)
        maps = [features[str(level)] for level in levels]
        self.channels, self.value_range = maps[0].shape[-1], value_range
        sizes = np.asarray([(item.shape[1], item.shape[2]) for item in maps], np.float32)
        self.cells = tf.concat([tf.reshape(item, [-1, self.channels]) for item in maps], axis=0)
        self.strides = np.asarray([2.0**level for level in levels], np.float32)
        self.heights, self.widths = sizes[:, 0], sizes[:, 1]
        self.offsets = np.concatenate([[0], np.cumsum(sizes.prod(axis=1))[:-1]]).astype(np.float32)
        self.thresholds = [(CANONICAL_SIDE * 2.0 ** (level - CANONICAL_LEVEL)) ** 2 for level in levels[1:]]


def align_regions(
    table: PyramidTable, boxes: Any, *, crop_size: int, sample_offset: float, sampling_ratio: int = 1
) -> Any:
    """Features of each box by bilinear interpolation.

    Args:
      table: The pyramid.
      boxes: float32 [N, 4], [y_min, x_min, y_max, x_max] in input pixels.
      crop_size: Cells per side of the result.
      sample_offset: Position of a sample within its part of a cell, 0..1.
      sampling_ratio: Samples per cell along each axis; the cell's value is their mean.

    Returns:
      float32 [N, crop_size, crop_size, channels].
    """
    with tf.name_scope("align_regions"):
        num, level, samples = boxes.shape[0], _choose_levels(table, boxes), crop_size * sampling_ratio
        stride, offset, width = (
            tf.reshape(tf.gather(tf.constant(values), level), [num, 1])
            for values in (table.strides, table.offsets, table.widths)
        )
        last = tf.gather(tf.constant(np.stack([table.heights, table.widths], 1) - 1), level)
        low, side = boxes[:, :2] / stride, (boxes[:, 2:] - boxes[:, :2]) / stride
        rows, row_weights = _sample_line(low[:, :1], side[:, :1], last[:, :1], samples, sample_offset)
        columns, column_weights = _sample_line(low[:, 1:], side[:, 1:], last[:, 1:], samples, sample_offset)

        # Index arithmetic in float: exact below 2**24, and vectorised by every runtime.
        lines = tf.reshape(rows * width + offset, [num, 2 * samples, 1])
        indices = tf.cast(lines + tf.reshape(columns, [num, 1, 2 * samples]), tf.int32)
        corners = tf.gather(table.cells, indices)
        row_weights = tf.reshape(row_weights, [num, 2 * samples, 1, 1])
        weights = row_weights * tf.reshape(column_weights, [num, 1, 2 * samples, 1])
        products = corners * weights
        if table.value_range is not None:
            # A share of a feature has the feature's range, so that an int8 file needs no calibration for it.
            products = tf.quantization.fake_quant_with_min_max_args(products, *table.value_range)
        # The sum over corners, and the mean over samples, as a convolution: runtimes have fast int8 kernels for that,
        # and only slow ones for pooling.
        window = 2 * sampling_ratio
        shares = tf.constant(np.full([window, window, table.channels, 1], 1.0 / sampling_ratio**2, np.float32))
        return tf.nn.depthwise_conv2d(products, shares, [1, window, window, 1], "VALID")


def _choose_levels(table: PyramidTable, boxes: Any) -> Any:
    """int32 [N], index of the level for each box: comparisons instead of a logarithm, so that runtimes agree."""
    sides = boxes[:, 2:] - boxes[:, :2]
    area = sides[:, 0] * sides[:, 1]
    level = tf.zeros_like(area)
    for threshold in table.thresholds:
        level += tf.cast(area >= threshold, tf.float32)
    return tf.cast(level, tf.int32)


def _sample_line(low: Any, side: Any, last: Any, samples: int, sample_offset: float) -> tuple[Any, Any]:
    """Neighbouring cells and their weights along one axis.

    Args:
      low, side, last: float32 [N, 1]: start and length of the box, and the map's last cell, in cells.
      samples: How many, evenly spaced.

    Returns:
      float32 [N, 2 * samples] cells (before, after, before, after, ...) and their weights.
    """
    steps = tf.constant([[(cell + sample_offset) / samples for cell in range(samples)]], tf.float32)
    position = low + steps * side
    before = tf.minimum(tf.maximum(tf.floor(position), 0.0), last)
    after = tf.minimum(before + 1.0, last)
    share = position - before
    cells = tf.stack([before, after], axis=2)
    weights = tf.stack([1.0 - share, share], axis=2)
    return tf.reshape(cells, [-1, 2 * samples]), tf.reshape(weights, [-1, 2 * samples])
