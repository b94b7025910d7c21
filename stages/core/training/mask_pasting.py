"""Masks in training's evaluations, pasted as those of files are."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from official.vision.ops import mask_ops


@contextmanager
def pasted_exactly() -> Iterator[None]:
    """Within it, Model Garden's evaluator pastes masks at half-pixel centres.

    Its own way, whole pixels and one wider, makes up for its mask targets, which are not trained on here
    (docs/decisions/0028).
    """
    original = mask_ops.paste_instance_masks
    mask_ops.paste_instance_masks = paste_masks
    try:
        yield
    finally:
        mask_ops.paste_instance_masks = original


def paste_masks(masks: np.ndarray, boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Binary masks of a whole image, by Model Garden's `paste_instance_masks_v2`, which fails on boxes without area.

    Args:
      masks: float [N, h, w], probabilities 0..1.
      boxes: float [N, 4] as x, y, width, height in pixels of the image; those that fill up a batch are zeros.
      height, width: Of the image.

    Returns:
      uint8 [N, height, width], 0 or 1.
    """
    pasted = np.zeros([len(masks), height, width], np.uint8)
    # One at a time: it makes float64 images.
    for index in np.flatnonzero((boxes[:, 2:] > 0).all(axis=1)):
        one = slice(index, index + 1)
        pasted[one] = mask_ops.paste_instance_masks_v2(masks[one], boxes[one], height, width)
    return pasted
