"""COCO average precision of boxes and masks.

Protocol: Lin et al., "Microsoft COCO" (ECCV 2014), as `pycocotools` computes it; the counting is faster-coco-eval's.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.base.errors import DataError
from stages.core.masks.pasting import detections_to_rles
from stages.core.processing.detections import Detections
from stages.core.results.validation import Accuracy, AveragePrecision
from stages.core.validating.coco_matching import Comparison, IouType, compare_results, measure_precision

MAX_DETECTIONS = 100
IOU_RANGE = "0.50:0.95:0.05"

_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
"""Positions on the area axis of COCO's precision array."""


class CocoResults:
    """Detections gathered image by image in COCO's result format, masks as run-length codes: a few kB an image."""

    def __init__(self, *, with_masks: bool) -> None:
        self.image_ids: list[int] = []
        self.boxes: list[dict[str, Any]] = []
        self.masks: list[dict[str, Any]] | None = [] if with_masks else None

    def add(self, image_id: int, detections: Detections) -> None:
        """Adds one image; one without detections must be added too, else it is not judged."""
        self.image_ids.append(image_id)
        self.boxes += detections_to_boxes(image_id, detections)
        if self.masks is not None:
            self.masks += detections_to_masks(image_id, detections)

    def compare(self, annotations: Path) -> tuple[Comparison, Comparison | None]:
        """Boxes and, with masks, masks of the images that were added, beside the objects of a COCO annotation file.

        Raises:
          DataError: if an image id is not in the file.
        """
        truth = read_truth(annotations, self.image_ids)
        masks = self.masks
        return (
            compare_results(truth, self.boxes, "bbox", max_detections=MAX_DETECTIONS),
            None if masks is None else compare_results(truth, masks, "segm", max_detections=MAX_DETECTIONS),
        )

    def measure(self, annotations: Path) -> Accuracy:
        """Box AP and, with masks, mask AP of the images that were added.

        Raises:
          DataError: if an image id is not in the file.
        """
        return measure_accuracy(*self.compare(annotations))


def measure_accuracy(box: Comparison, mask: Comparison | None) -> Accuracy:
    """Box AP and, with masks, mask AP."""
    return Accuracy(box=compared_to_ap(box), mask=None if mask is None else compared_to_ap(mask))


def read_truth(annotations: Path, image_ids: Collection[int]) -> dict[str, Any]:
    """A COCO annotation tree reduced to some images.

    Raises:
      DataError: if an image id is not in the file.
    """
    tree = json.loads(annotations.read_bytes())
    wanted = set(image_ids)
    unknown = wanted - {int(image["id"]) for image in tree["images"]}
    if unknown:
        raise DataError(f"{annotations}: holds no image with id {min(unknown)} ({len(unknown)} ids are unknown)")
    return {
        **tree,
        "images": [image for image in tree["images"] if int(image["id"]) in wanted],
        "annotations": [entry for entry in tree["annotations"] if int(entry["image_id"]) in wanted],
    }


def measure_ap(truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], iou_type: IouType) -> AveragePrecision:
    """AP of results in COCO's result format.

    Args:
      truth: COCO annotation tree; crowds are regions where detections do not count. Neither argument is changed.
      results: `image_id`, `category_id`, `score` and `bbox` (x, y, width, height) or `segmentation` (run-length code).
      iou_type: Whether boxes or masks are compared.

    Returns:
      Points 0..100; None where the truth has no object of that kind.
    """
    return compared_to_ap(compare_results(truth, results, iou_type, max_detections=MAX_DETECTIONS))


def compared_to_ap(comparison: Comparison) -> AveragePrecision:
    """AP in points 0..100; None where the truth has no object of that kind."""
    return summarize_precision(measure_precision(comparison), comparison.class_names)


def summarize_precision(precision: np.ndarray, class_names: Sequence[str]) -> AveragePrecision:
    """COCO's summary of a precision array [IoU, recall, class, area, max detections]; -1 means "no such object"."""
    every = precision[..., -1]
    return AveragePrecision(
        ap=mean_points(every[:, :, :, _ALL]),
        ap50=mean_points(every[0, :, :, _ALL]),
        ap75=mean_points(every[5, :, :, _ALL]),
        ap_small=mean_points(every[:, :, :, _SMALL]),
        ap_medium=mean_points(every[:, :, :, _MEDIUM]),
        ap_large=mean_points(every[:, :, :, _LARGE]),
        per_class={name: mean_points(every[:, :, index, _ALL]) for index, name in enumerate(class_names)},
        per_class_ap50={name: mean_points(every[0, :, index, _ALL]) for index, name in enumerate(class_names)},
    )


def mean_points(precision: np.ndarray) -> float | None:
    """Mean over the entries that are defined (not -1), times 100."""
    defined = precision[precision > -1]
    return float(defined.mean() * 100) if defined.size else None


def detections_to_boxes(image_id: int, detections: Detections) -> list[dict[str, Any]]:
    """COCO box results of one image, `bbox` as (x, y, width, height) in pixels."""
    boxes = detections.boxes_xyxy.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return [
        {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
        for box, score, category in zip(
            boxes.tolist(), detections.scores.tolist(), detections.classes.tolist(), strict=True
        )
    ]


def detections_to_masks(image_id: int, detections: Detections) -> list[dict[str, Any]]:
    """COCO mask results of one image; without `bbox`, so that a detection's size class follows from its mask."""
    return [
        {"image_id": image_id, "category_id": category, "segmentation": rle, "score": score}
        for rle, score, category in zip(
            detections_to_rles(detections), detections.scores.tolist(), detections.classes.tolist(), strict=True
        )
    ]
