"""Objects to be drawn on a picture, from detections and from COCO annotations alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from stages.core.masks.pasting import paste_mask
from stages.core.masks.segmentations import decode_segmentation
from stages.core.processing.detections import Detections

Outline = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One object.

    Attributes:
      label: Class name.
      category: Category id; picks the colour.
      score: 0..1; None for ground truth.
      box_xyxy: Pixels of the original image.
      outlines: Closed polygons of its mask in pixels, filled even-odd; none without a mask.
    """

    label: str
    category: int
    score: float | None
    box_xyxy: tuple[float, float, float, float]
    outlines: tuple[Outline, ...] = ()

    @property
    def text(self) -> str:
        return self.label if self.score is None else f"{self.label} {self.score:.2f}"


def detections_to_shapes(detections: Detections, labels: Mapping[int, str]) -> tuple[Shape, ...]:
    """What a model found, best first."""
    shapes = []
    for index in range(len(detections)):
        box, category = detections.boxes_xyxy[index], int(detections.classes[index])
        outlines: tuple[Outline, ...] = ()
        if detections.masks is not None:
            pasted, top, left = paste_mask(detections.masks[index], box, detections.image_size)
            outlines = mask_to_outlines(pasted, top=top, left=left)
        shapes.append(
            Shape(
                label=labels.get(category, str(category)),
                category=category,
                score=float(detections.scores[index]),
                box_xyxy=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                outlines=outlines,
            )
        )
    return tuple(shapes)


def annotations_to_shapes(
    annotations: Sequence[Mapping[str, Any]], labels: Mapping[int, str], image_size: tuple[int, int]
) -> tuple[Shape, ...]:
    """Ground truth of one image, as COCO JSON has it; crowds and ignored difficult objects are marked as such."""
    shapes = []
    for entry in annotations:
        x, y, width, height = (float(value) for value in entry["bbox"])
        name = labels.get(entry["category_id"], str(entry["category_id"]))
        mark = "difficult" if entry.get("difficult") else "crowd"
        shapes.append(
            Shape(
                label=f"{name} ({mark})" if entry.get("iscrowd") else name,
                category=int(entry["category_id"]),
                score=None,
                box_xyxy=(x, y, x + width, y + height),
                outlines=segmentation_to_outlines(entry.get("segmentation"), image_size),
            )
        )
    return tuple(shapes)


def segmentation_to_outlines(segmentation: Any, image_size: tuple[int, int]) -> tuple[Outline, ...]:
    """COCO polygons, compressed or plain run-length code, or nothing, as outlines."""
    if not segmentation:
        return ()
    if isinstance(segmentation, list):
        return tuple(tuple(zip(flat[0::2], flat[1::2], strict=True)) for flat in segmentation)
    return mask_to_outlines(decode_segmentation(segmentation, *image_size), top=0, left=0)


def mask_to_outlines(mask: np.ndarray, *, top: int, left: int) -> tuple[Outline, ...]:
    """Borders of a boolean mask, holes included, as polygons simplified to within a pixel.

    Args:
      mask: bool [rows, columns].
      top, left: Where the mask is in the image.
    """
    if not mask.any():
        return ()
    # Contours run through pixel centres; the half pixel brings them back to the pixel grid's coordinates.
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outlines = []
    for contour in contours:
        simple = cv2.approxPolyDP(contour, 0.8, closed=True)[:, 0, :]
        if len(simple) >= 3:
            outlines.append(tuple((float(x) + left + 0.5, float(y) + top + 0.5) for x, y in simple))
    return tuple(outlines)
