"""COCO's matching of detections to true objects, and the precision that follows from it, for boxes or masks.

The protocol is `pycocotools`' (Lin et al., "Microsoft COCO", ECCV 2014): overlaps per image and class, greedy matching
by score, precision at 101 recalls. Overlaps, matching and precision are faster-coco-eval's compiled code, called
directly: its `COCO` and `COCOeval_faster` first build indices of copied dictionaries and encode every mask anew, which
takes longer than the counting itself. Areas and polygons of masks are pycocotools', which is quicker at the first.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, Literal

import numpy as np
from faster_coco_eval import faster_eval_api_cpp as counting
from faster_coco_eval.core import mask as regions
from faster_coco_eval.core.cocoeval import Params
from pycocotools import mask as coco_mask

from stages.core.masks.segmentations import to_code

IouType = Literal["bbox", "segm"]
Entry = Mapping[str, Any]
Cells = dict[tuple[int, int], list[int]]
"""Positions of entries by (image id, category id), in the order in which the entries were given."""

MASKS_PER_CALL = 200
"""pycocotools 2.0.11 counts the masks of a call of `area` in 8 bits, and fails on 256."""

_SCORE = itemgetter("score")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results beside the objects of a COCO annotation tree, with their overlaps: what everything is counted from.

    Attributes:
      truth: COCO annotation tree.
      results: `image_id`, `category_id`, `score`, and a box or a mask.
      image_ids, category_ids: Ascending.
      best: Positions of the results that count in each cell, best score first, ties as given.
      overlaps: Per cell that has both, float64 [results of `best`, objects].
      max_detections: How many results of a cell count.
    """

    truth: Mapping[str, Any]
    results: Sequence[Entry]
    iou_type: IouType
    image_ids: tuple[int, ...]
    category_ids: tuple[int, ...]
    best: Cells
    overlaps: Mapping[tuple[int, int], np.ndarray]
    max_detections: int

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """In the order of `category_ids`."""
        names = {int(category["id"]): str(category["name"]) for category in self.truth["categories"]}
        return tuple(names[key] for key in self.category_ids)

    @cached_property
    def datasets(self) -> tuple[Any, Any]:
        """Objects and results as the counting reads them."""
        annotations = self.truth["annotations"]
        return (
            count_in_cells(group_by_cell(annotations), describe_objects(annotations)),
            count_in_cells(group_by_cell(self.results), describe_results(self.results)),
        )

    def count(self, params: Any) -> dict[str, Any]:
        """What the counting says under some of COCO's parameters."""
        params.maxDets, params.imgIds, params.catIds = [self.max_detections], self.image_ids, self.category_ids
        cells: list[list[Any]] = [
            [self.overlaps.get((image, key), []) for key in self.category_ids] for image in self.image_ids
        ]
        counted: dict[str, Any] = counting.COCOevalEvaluateAccumulate(
            params, cells, *self.datasets, params.imgIds, params.catIds, True
        )
        return counted


def compare_results(
    truth: Mapping[str, Any], results: Sequence[Entry], iou_type: IouType, *, max_detections: int
) -> Comparison:
    """Measures the overlaps of results and objects; neither argument is changed.

    Args:
      truth: COCO annotation tree; masks are polygons or run-length codes. Crowds are regions where detections do not
        count.
      results: `image_id`, `category_id`, `score` and `bbox` (x, y, width, height) or `segmentation` (compressed
        run-length code, or any form where a `bbox` states the area). Those of an image or category that the truth does
        not list are left out.
      iou_type: Whether boxes or masks are compared.
      max_detections: Detections of one class in one image that count: those with the highest scores.
    """
    # `reverse` keeps ties in their order: the matching sorts alike.
    best = {
        cell: sorted(positions, key=lambda position: _SCORE(results[position]), reverse=True)[:max_detections]
        for cell, positions in group_by_cell(results).items()
    }
    return Comparison(
        truth=truth,
        results=results,
        iou_type=iou_type,
        image_ids=tuple(sorted({int(image["id"]) for image in truth["images"]})),
        category_ids=tuple(sorted({int(category["id"]) for category in truth["categories"]})),
        best=best,
        overlaps=measure_overlaps(truth, group_by_cell(truth["annotations"]), results, best, iou_type),
        max_detections=max_detections,
    )


def measure_precision(comparison: Comparison) -> np.ndarray:
    """Precision of results against objects.

    Returns:
      float64 [10 IoU thresholds, 101 recalls, categories, areas (all, small, medium, large), 1], 0..1, the categories
      in ascending order of their ids; -1 where the truth has no such object.
    """
    precision: np.ndarray = comparison.count(Params(iouType=comparison.iou_type))["precision"]
    return precision


def match_results(comparison: Comparison, *, iou: float) -> dict[int, int]:
    """Position of each matched result to the position of its object (or crowd), by the same greedy matching.

    A result chooses before those with lower scores: the matching of results above some score is a part of this one.
    """
    params = Params(iouType=comparison.iou_type)
    params.iouThrs, params.areaRng = [iou], params.areaRng[:1]
    pairs = (key.split("_") for key in comparison.count(params)["matched"])
    return {int(result) - 1: int(entry) - 1 for result, entry in pairs}


def group_by_cell(entries: Iterable[Entry]) -> Cells:
    """Where the entries of each image and class stand."""
    cells: Cells = defaultdict(list)
    for position, entry in enumerate(entries):
        cells[int(entry["image_id"]), int(entry["category_id"])].append(position)
    return cells


def measure_overlaps(
    truth: Mapping[str, Any], objects: Cells, results: Sequence[Entry], best: Cells, iou_type: IouType
) -> dict[tuple[int, int], np.ndarray]:
    """Intersection over union (over the detection's area for a crowd) in the cells that have objects and detections.

    Returns:
      Per cell float64 [detections of `best`, objects].
    """
    annotations = truth["annotations"]
    sizes = {int(image["id"]): (image.get("height"), image.get("width")) for image in truth["images"]}
    overlaps = {}
    for cell in objects.keys() & best.keys():
        if cell[0] not in sizes:
            continue
        true = [annotations[position] for position in objects[cell]]
        overlaps[cell] = regions.iou(
            read_regions([results[position] for position in best[cell]], iou_type, sizes[cell[0]]),
            read_regions(true, iou_type, sizes[cell[0]]),
            [int(entry.get("iscrowd", 0)) for entry in true],
        )
    return overlaps


def read_regions(entries: Sequence[Entry], iou_type: IouType, size: tuple[int, int]) -> list[Any]:
    """Boxes (x, y, width, height), or run-length codes of the masks, of entries of one image of (height, width)."""
    if iou_type == "bbox":
        return [entry["bbox"] for entry in entries]
    return [to_code(entry["segmentation"], *size) for entry in entries]


def count_in_cells(cells: Cells, described: Sequence[dict[str, Any]]) -> Any:
    """What the counting reads of each entry, as its own data set."""
    dataset = counting.Dataset()
    for (image, category), positions in cells.items():
        for position in positions:
            dataset.append_ref(image, category, described[position])
    return dataset


def describe_objects(annotations: Sequence[Entry]) -> list[dict[str, Any]]:
    """Objects as the counting reads them. Ids from 1, whatever the file says: 0 stands for "unmatched"."""
    crowds = [int(entry.get("iscrowd", 0)) for entry in annotations]
    return [
        {"id": number, "area": float(entry["area"]), "iscrowd": crowd, "ignore": crowd}
        for number, (entry, crowd) in enumerate(zip(annotations, crowds, strict=True), start=1)
    ]


def describe_results(results: Sequence[Entry]) -> list[dict[str, Any]]:
    """Results as the counting reads them."""
    return [
        {"id": number, "area": area, "score": float(result["score"])}
        for number, (result, area) in enumerate(zip(results, measure_areas(results), strict=True), start=1)
    ]


def measure_areas(results: Sequence[Entry]) -> list[float]:
    """Areas in pixels. A box, where results have one, states it, else the mask does: pycocotools' rule."""
    if results and "bbox" in results[0]:
        return [float(result["bbox"][2]) * float(result["bbox"][3]) for result in results]
    masks = [result["segmentation"] for result in results]
    areas: list[float] = []
    for start in range(0, len(masks), MASKS_PER_CALL):
        areas += coco_mask.area(masks[start : start + MASKS_PER_CALL]).tolist()
    return areas
