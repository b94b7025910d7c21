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
        rows = _weights_inside(y_min, y_max, masks.shape[1])
        columns = _weights_inside(x_min, x_max, masks.shape[2])
        found[index] = rows @ masks[index].astype(np.float32) @ columns.T
    return found


def _weights_inside(start: float, end: float, num: int) -> np.ndarray:
    """`weigh_cells` of those cells whose centres are inside: what is outside of its box, a mask has left empty."""
    first, last = np.ceil(start * num - 0.5), np.floor(end * num - 0.5)
    return weigh_cells(start, end, num, CELLS, (first, last) if first <= last else None)


def weigh_cells(
    start: float, end: float, num: int, cells: int, inside: tuple[float, float] | None = None
) -> np.ndarray:
    """Linear interpolation from `num` cells over 0..1 to `cells` over start..end: float32 [cells, num].

    Args:
      inside: First and last cell that count; None: all.
    """
    positions = (start + (np.arange(cells) + 0.5) / cells * (end - start)) * num - 0.5
    if inside is not None:
        positions = np.clip(positions, *inside)
    distances = np.abs(np.clip(positions, 0, num - 1)[:, None] - np.arange(num))
    weights: np.ndarray = np.maximum(1 - distances, 0).astype(np.float32)
    return weights
