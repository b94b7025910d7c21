"""Boxes without area in a suppression: one cure for brought graphs and for our own."""

from typing import Any

import numpy as np
import tensorflow as tf

FAR = -1e6
"""Where no box is: coordinates of images are fractions or pixels."""


def separate_empty(boxes: Any) -> Any:
    """float32 [N, 4] corners: the same boxes, those without area replaced by small ones far from all others.

    A box without area overlaps nothing, not even itself. LiteRT 2.3 returns it again and again until no row is left,
    as its kernel relies on a taken box suppressing itself; TensorFlow and OpenVINO return it once, and so do all three
    with what this returns. Nothing changes for boxes with area.
    """
    number = int(boxes.shape[0])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    low = FAR - 2.0 * np.arange(number)
    apart = np.stack([low, np.full(number, FAR), low + 1, np.full(number, FAR + 1)], axis=1).astype(np.float32)
    return tf.where(tf.less(0.0, tf.abs(area))[:, tf.newaxis], boxes, tf.constant(apart))
