"""Masks that span the whole input tensor to masks that span their own boxes, which is what everything else reads."""

import numpy as np

CELLS = 112
"""Side of such a mask: four times that of Mask R-CNN's, as much as a box of a third of a 320 pixel image has pixels."""


def frame_to_boxes(masks: np.ndarray, boxes_yxyx: np.ndarray) -> np.ndarray:
    """Cuts each mask out of the frame, bilinear between the centres of pixels.

    Args:
      masks: [N, H, W], probabilities or 0 and 1, over the frame.
      boxes_yxyx: [N, 4] over the frame's sides.

    Returns:
      float32 [N, CELLS, CELLS] over the boxes; zero for a box without area.
    """
    found = np.zeros((len(masks), CELLS, CELLS), np.float32)
    for index, (y_min, x_min, y_max, x_max) in enumerate(boxes_yxyx.astype(np.float64)):
        if not (np.isfinite(boxes_yxyx[index]).all() and y_max > y_min and x_max > x_min):
            continue
        rows = linear_weights(y_min, y_max, masks.shape[1], CELLS)
        columns = linear_weights(x_min, x_max, masks.shape[2], CELLS)
        found[index] = rows @ masks[index].astype(np.float32) @ columns.T
    return found


def linear_weights(start: float, end: float, num: int, cells: int) -> np.ndarray:
    """Linear interpolation from `num` cells over 0..1 to `cells` over start..end: float32 [cells, num]."""
    positions = (start + (np.arange(cells) + 0.5) / cells * (end - start)) * num - 0.5
    distances = np.abs(np.clip(positions, 0, num - 1)[:, None] - np.arange(num))
    weights: np.ndarray = np.maximum(1 - distances, 0).astype(np.float32)
    return weights
