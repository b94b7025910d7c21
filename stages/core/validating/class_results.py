"""Class by class at IoU 0.5, from the evaluator's own matching: curves, best thresholds and confusions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stages.core.results.classes import ClassCurve, ClassResults, Confusion, OperatingPoint
from stages.core.validating.coco_matching import Comparison, Entry, compare_results, group_by_cell, match_results

CLASS_IOU = 0.5
RECALLS = np.linspace(0, 1, 101)

_ANY_CLASS = 0


@dataclass(frozen=True, eq=False)
class Matched:
    """The results and objects of a comparison that count, and which belong together.

    Attributes:
      comparison: Where the positions point.
      results: Positions of results, image by image and best score first, by category id: without those of crowds.
      objects: Positions of objects by category id: without crowds.
      pairs: Position of a result to that of its object.
    """

    comparison: Comparison
    results: dict[int, list[int]]
    objects: dict[int, list[int]]
    pairs: dict[int, int]

    def score(self, position: int) -> float:
        return float(self.comparison.results[position]["score"])


def measure_classes(comparison: Comparison, *, score_threshold: float) -> ClassResults:
    """Curves of every class and of all pooled, and the confusion of detections with at least `score_threshold`."""
    matched = match_classes(comparison)
    ids, names = comparison.category_ids, comparison.class_names
    return ClassResults(
        curves={name: curve_of(matched, [key]) for key, name in zip(ids, names, strict=True)},
        overall=curve_of(matched, ids),
        confusion=confuse(matched, score_threshold),
    )


def match_classes(comparison: Comparison) -> Matched:
    """The evaluator's matching at IoU 0.5, crowds and what matches them left out."""
    annotations = comparison.truth["annotations"]
    pairs = match_results(comparison, iou=CLASS_IOU)
    on_crowds = {result for result, entry in pairs.items() if annotations[entry].get("iscrowd")}
    cells = group_by_cell(annotations)
    results: dict[int, list[int]] = {}
    objects: dict[int, list[int]] = {}
    for key in comparison.category_ids:
        found = [p for image in comparison.image_ids for p in comparison.best.get((image, key), [])]
        results[key] = [position for position in found if position not in on_crowds]
        true = [p for image in comparison.image_ids for p in cells.get((image, key), [])]
        objects[key] = [position for position in true if not annotations[position].get("iscrowd")]
    own = {result: entry for result, entry in pairs.items() if result not in on_crowds}
    return Matched(comparison, results, objects, own)


def curve_of(matched: Matched, category_ids: Iterable[int]) -> ClassCurve:
    """The curve of some classes pooled."""
    keys = tuple(category_ids)
    positions = [position for key in keys for position in matched.results[key]]
    return trace_curve(
        np.asarray([matched.score(position) for position in positions], np.float64),
        np.asarray([position in matched.pairs for position in positions], bool),
        num_objects=sum(len(matched.objects[key]) for key in keys),
    )


def trace_curve(scores: np.ndarray, hits: np.ndarray, *, num_objects: int) -> ClassCurve:
    """Precision over recall, and the threshold with the best F1.

    Args:
      scores: float64 [N], 0..1, in any order.
      hits: bool [N], whether a detection matches an object.
      num_objects: How many objects there were to be found.
    """
    if num_objects == 0 or len(scores) == 0:
        return ClassCurve(num_objects=num_objects)
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(hits[order])
    recall, precision = found / num_objects, found / np.arange(1, len(scores) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(recall, RECALLS)
    return ClassCurve(
        num_objects=num_objects,
        precision=tuple(round(float(envelope[index]), 4) for index in reached if index < len(envelope)),
        best=_best_point(scores, precision, recall),
    )


def _best_point(scores: np.ndarray, precision: np.ndarray, recall: np.ndarray) -> OperatingPoint | None:
    # A threshold keeps all detections of equal score or none of them: only the last of them is a point.
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[ends]
    best = ends[int(np.argmax(f1))]
    if recall[best] == 0:
        return None
    return OperatingPoint(
        score_threshold=float(scores[best]),
        precision=float(precision[best]),
        recall=float(recall[best]),
        f1=float(f1.max()),
    )


def confuse(matched: Matched, score_threshold: float) -> Confusion:
    """Counts of actual and predicted classes; what has no partner of its own class is matched regardless of class."""
    comparison = matched.comparison
    rows = {key: index for index, key in enumerate(comparison.category_ids)}
    counts = np.zeros((len(rows) + 1, len(rows) + 1), int)
    kept = [p for key in rows for p in matched.results[key] if matched.score(p) >= score_threshold]
    hits = {matched.pairs[position] for position in kept if position in matched.pairs}
    spare_results = [comparison.results[position] for position in kept if position not in matched.pairs]
    spare_objects = [comparison.truth["annotations"][p] for key in rows for p in matched.objects[key] if p not in hits]
    for position in hits:
        own = rows[int(comparison.truth["annotations"][position]["category_id"])]
        counts[own, own] += 1
    crossed = match_any_class(comparison, spare_objects, spare_results)
    for index, result in enumerate(spare_results):
        actual = rows[int(spare_objects[crossed[index]]["category_id"])] if index in crossed else -1
        counts[actual, rows[int(result["category_id"])]] += 1
    taken = set(crossed.values())
    for index, entry in enumerate(spare_objects):
        counts[rows[int(entry["category_id"])], -1] += index not in taken
    return Confusion(
        classes=comparison.class_names,
        counts=tuple(tuple(int(number) for number in row) for row in counts),
        score_threshold=score_threshold,
    )


def match_any_class(comparison: Comparison, objects: Sequence[Entry], results: Sequence[Entry]) -> dict[int, int]:
    """Positions of results to positions of objects, matched as if all were of one class."""
    truth = {
        "images": comparison.truth["images"],
        "annotations": [{**entry, "category_id": _ANY_CLASS} for entry in objects],
        "categories": [{"id": _ANY_CLASS, "name": "any"}],
    }
    merged = [{**result, "category_id": _ANY_CLASS} for result in results]
    pairs = compare_results(truth, merged, comparison.iou_type, max_detections=max(1, len(merged)))
    return match_results(pairs, iou=CLASS_IOU)
