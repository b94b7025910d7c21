"""Mask probabilities inside a box to the run-length code of a mask of the whole image."""

from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco_mask

from stages.core.processing.detections import Detections

MASK_THRESHOLD = 0.5


def detections_to_rles(detections: Detections) -> list[dict[str, Any]]:
    """Pastes every mask of one image into it.

    Args:
      detections: With masks; boxes in pixels of the image.

    Returns:
      One compressed COCO run-length code per detection: `{"size": [height, width], "counts": bytes}`.
    """
    if detections.masks is None:
        raise ValueError("detections_to_rles: these detections have no masks")
    # One canvas for all of an image's masks: only the box's region is written and wiped, and the column-major order
    # that the encoder walks is there from the start.
    canvas = np.zeros(detections.image_size, np.uint8, order="F")
    rles = []
    for box, mask in zip(detections.boxes_xyxy, detections.masks, strict=True):
        pasted, top, left = paste_mask(mask, box, detections.image_size)
        region = canvas[top : top + pasted.shape[0], left : left + pasted.shape[1]]
        region[...] = pasted
        rles.append(coco_mask.encode(canvas))
        region[...] = 0
    return rles


def paste_mask(mask: np.ndarray, box_xyxy: np.ndarray, image_size: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """Samples a mask at the centres of the pixels that its box touches.

    Bilinear with half-pixel centres; outside of the mask the probability is 0, so it fades over half a mask cell at the
    box's border. This is what Detectron2's `paste_masks_in_image` and Model Garden's `paste_instance_masks_v2` state.

    Args:
      mask: float [h, w], probabilities 0..1.
      box_xyxy: float [4], pixels of the image.
      image_size: (height, width).

    Returns:
      bool [rows, columns], true where the probability is at least 0.5, and the row and column where it belongs.
    """
    x_min, y_min, x_max, y_max = (float(value) for value in box_xyxy)
    rows, top = sampling_weights(y_min, y_max, mask.shape[0], image_size[0])
    columns, left = sampling_weights(x_min, x_max, mask.shape[1], image_size[1])
    probabilities = rows @ mask.astype(np.float32, copy=False) @ columns.T
    return probabilities >= MASK_THRESHOLD, top, left


def sampling_weights(start: float, end: float, num_cells: int, num_pixels: int) -> tuple[np.ndarray, int]:
    """Linear interpolation along one axis, as a matrix: pixels [start, end) of the image from `num_cells` mask cells.

    Returns:
      float32 [pixels, num_cells] and the first pixel's index. The interpolation being separable, a mask is pasted by
      one product from the left and one from the right.
    """
    first = max(0, int(np.floor(start)))
    last = min(num_pixels, int(np.ceil(end)))
    centres = np.arange(first, max(first, last), dtype=np.float64) + 0.5
    cells = (centres - start) * (num_cells / max(end - start, 1e-9)) - 0.5
    weights = 1.0 - np.abs(cells[:, None] - np.arange(num_cells))
    return np.maximum(weights, 0.0).astype(np.float32), first
