"""One image's detections against its ground truth, for captions: AP of a single image says little."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.core.processing.detections import Detections
from stages.core.validating.agreement import MATCH_IOU, box_ious, pair_detections


def f1_against_truth(objects: Sequence[Mapping[str, Any]], detections: Detections) -> float:
    """F1 of matches at IoU 0.5 and equal class, 0..1; 1 where there is nothing to find and nothing was found.

    Crowds need not be found, and what was found inside one counts on neither side, as in COCO's evaluation.

    Args:
      objects: Annotations of the image as COCO JSON has them.
    """
    truth = _as_detections([entry for entry in objects if not entry.get("iscrowd")], detections.image_size)
    crowds = _as_detections([entry for entry in objects if entry.get("iscrowd")], detections.image_size)
    near = (box_ious(detections.boxes_xyxy, truth.boxes_xyxy) >= MATCH_IOU) & _same_class(detections, truth)
    inside = (_shares_inside(detections, crowds) >= MATCH_IOU) & _same_class(detections, crowds)
    keep = near.any(axis=1) | ~inside.any(axis=1)
    counted = Detections(
        boxes_xyxy=detections.boxes_xyxy[keep],
        scores=detections.scores[keep],
        classes=detections.classes[keep],
        image_size=detections.image_size,
    )
    total = len(truth) + len(counted)
    return 2 * pair_detections(truth, counted).num_matched / total if total else 1.0


def _as_detections(objects: Sequence[Mapping[str, Any]], image_size: tuple[int, int]) -> Detections:
    boxes = np.asarray([entry["bbox"] for entry in objects], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    classes = np.asarray([entry["category_id"] for entry in objects], np.int32)
    scores = np.ones(len(objects), np.float32)
    return Detections(boxes_xyxy=boxes, scores=scores, classes=classes, image_size=image_size)


def _same_class(detections: Detections, others: Detections) -> np.ndarray:
    same: np.ndarray = detections.classes[:, None] == others.classes[None, :]
    return same


def _shares_inside(detections: Detections, crowds: Detections) -> np.ndarray:
    """Share of each detection's box that lies in each crowd's: float64 [detections, crowds]."""
    boxes, others = detections.boxes_xyxy.astype(np.float64)[:, None], crowds.boxes_xyxy.astype(np.float64)[None]
    sides = np.minimum(boxes[..., 2:], others[..., 2:]) - np.maximum(boxes[..., :2], others[..., :2])
    areas = np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)
    shares: np.ndarray = np.prod(np.maximum(sides, 0), axis=-1) / np.maximum(areas, np.finfo(np.float64).tiny)
    return shares
