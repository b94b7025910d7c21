"""How far AP and AP drop would move on other images: a bootstrap over the images of the split.

Efron, "Bootstrap methods: another look at the jackknife" (Annals of Statistics 7, 1979): images are drawn with
replacement, and the middle 95 % of the drawn AP is the interval. File and float model are drawn alike (paired), so that
what an image does to both cancels out of the drop. Classes, objects and detections are not drawn: they come with their
image.

Nothing is evaluated again. A drawn image counts as often as it was drawn, so all that a draw needs is, for each class
and IoU threshold, which detections match: that is found once. Precision changes its envelope only at matches, so only
these are looked at. The result equals that of evaluating the drawn images, to rounding; equal scores within an image,
whose order COCO leaves open, aside.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from faster_coco_eval.core.cocoeval import Params

from stages.core.results.validation import ApIntervals, Interval
from stages.core.validating.coco_matching import Comparison, group_by_cell, match_results

RESAMPLES, SEED = 1000, 0
CONFIDENCE = 0.95
CHUNK_CELLS = 4_000_000
"""Draws times detections that are looked at together: memory of some 100 MB."""

_IOUS: np.ndarray = Params(iouType="bbox").iouThrs
_RECALLS: np.ndarray = Params(iouType="bbox").recThrs


@dataclass(frozen=True, eq=False)
class ClassMatches:
    """What one class's AP is counted from.

    Attributes:
      images: int64 [D], for each detection the index of its image, best score first.
      hits, ignored: bool [10 IoU thresholds, D], whether it matches an object; whether it matches a crowd.
      objects: int64 [images], how many objects each image has, crowds left out.
    """

    images: np.ndarray
    hits: np.ndarray
    ignored: np.ndarray
    objects: np.ndarray


def draw_images(num_images: int, *, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """How often each image is in each draw.

    Returns:
      float64 [resamples, num_images], whole numbers, each line with the sum `num_images`.
    """
    shares = np.full(num_images, 1 / num_images)
    return np.random.default_rng(seed).multinomial(num_images, shares, size=resamples).astype(np.float64)


def measure_intervals(found: Comparison, reference: Comparison) -> ApIntervals | None:
    """Intervals of a file's AP, of the float model's, and of the drops from the one to the other.

    Args:
      found, reference: Of file and float model on the same images.

    Returns:
      Points; None for fewer than two images, of which nothing can be said.

    Raises:
      ValueError: if the two are of different images or classes.
    """
    if (found.image_ids, found.category_ids) != (reference.image_ids, reference.category_ids):
        raise ValueError("measure_intervals: file and float model were evaluated on different images or classes")
    if len(found.image_ids) < 2:
        return None
    draws = draw_images(len(found.image_ids))
    got, floats = resample_ap(found, draws), resample_ap(reference, draws)
    drops = floats - got
    return ApIntervals(
        ap=interval_of(_mean_over_classes(got)),
        ap_float=interval_of(_mean_over_classes(floats)),
        ap_drop=interval_of(_mean_over_classes(floats) - _mean_over_classes(got)),
        class_ap_drop={name: interval_of(drops[:, index]) for index, name in enumerate(found.class_names)},
        resamples=len(draws),
        confidence=CONFIDENCE,
    )


def interval_of(values: np.ndarray) -> Interval | None:
    """The middle 95 % of some values; None where no value is defined (not NaN)."""
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def resample_ap(comparison: Comparison, draws: np.ndarray) -> np.ndarray:
    """AP by class on each draw of images.

    Args:
      draws: float64 [R, images], how often each image of `comparison.image_ids` is in each draw.

    Returns:
      float64 [R, classes], points 0..100; NaN where a draw has no object of a class.
    """
    columns = [draw_class_ap(matches, draws) for matches in match_images(comparison)]
    return np.stack(columns, axis=1)


def match_images(comparison: Comparison) -> Iterator[ClassMatches]:
    """The matching of each class, in the order of `category_ids`, at each of COCO's ten IoU thresholds."""
    annotations = comparison.truth["annotations"]
    cells, indices = group_by_cell(annotations), {image: index for index, image in enumerate(comparison.image_ids)}
    pairs: list[Mapping[int, int]] = [match_results(comparison, iou=float(iou)) for iou in _IOUS]
    on_crowd = [{result for result, entry in some.items() if annotations[entry].get("iscrowd")} for some in pairs]
    for key in comparison.category_ids:
        found = [(p, image) for image in comparison.image_ids for p in comparison.best.get((image, key), [])]
        # Stable, as the evaluator sorts: equal scores stay in the order of the images.
        found.sort(key=lambda entry: -float(comparison.results[entry[0]]["score"]))
        ignored = np.asarray([[p in some for p, _ in found] for some in on_crowd], bool).reshape(len(_IOUS), -1)
        matched = np.asarray([[p in some for p, _ in found] for some in pairs], bool).reshape(len(_IOUS), -1)
        objects = np.zeros(len(indices), np.int64)
        for image, index in indices.items():
            objects[index] = sum(not annotations[p].get("iscrowd") for p in cells.get((image, key), []))
        yield ClassMatches(
            images=np.asarray([indices[image] for _, image in found], np.int64),
            hits=matched & ~ignored,
            ignored=ignored,
            objects=objects,
        )


def draw_class_ap(matches: ClassMatches, draws: np.ndarray) -> np.ndarray:
    """AP of one class on each draw: float64 [R], points; NaN where the draw has no object of it."""
    step = max(1, CHUNK_CELLS // max(1, len(matches.images)))
    parts = [_draw_some(matches, draws[start : start + step]) for start in range(0, len(draws), step)]
    return np.concatenate(parts)


def _draw_some(matches: ClassMatches, draws: np.ndarray) -> np.ndarray:
    objects = draws @ matches.objects
    weights = draws[:, matches.images]
    counted = np.cumsum(weights, axis=1)
    total = np.zeros(len(draws))
    for hits, ignored in zip(matches.hits, matches.ignored, strict=True):
        indices = np.flatnonzero(hits)
        if not indices.size:
            continue
        found = np.cumsum(weights[:, indices], axis=1)
        judged = counted[:, indices]
        if ignored.any():
            passed = np.flatnonzero(ignored)
            before = np.cumsum(np.pad(weights[:, passed], ((0, 0), (1, 0))), axis=1)
            judged = judged - before[:, np.searchsorted(passed, indices)]
        total += _mean_precision(found, judged, objects)
    return np.where(objects > 0, total / len(_IOUS) * 100, np.nan)


def _mean_precision(found: np.ndarray, judged: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Mean over COCO's 101 recalls of the best precision at that recall or a higher one.

    Args:
      found, judged: float64 [R, K], after each match the number of matches and of detections that count.
      objects: float64 [R].

    Returns:
      float64 [R], 0..1.
    """
    precision = np.divide(found, judged, out=np.zeros_like(found), where=judged > 0)
    envelope: np.ndarray = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = np.divide(found, objects[:, None], out=np.zeros_like(found), where=objects[:, None] > 0)
    # How many of the recalls are reached; `searchsorted` says the same three times more slowly.
    index = (recall * (len(_RECALLS) - 1) + 1e-9).astype(np.int64)
    reached = index + (_RECALLS[index] <= recall)
    # A match of an image that was not drawn reaches nothing, not even recall 0.
    reached[found == 0] = 0
    gained = np.diff(reached, axis=1, prepend=0)
    mean: np.ndarray = (gained * envelope).sum(axis=1) / len(_RECALLS)
    return mean


def _mean_over_classes(values: np.ndarray) -> np.ndarray:
    """Mean of [R, classes] over the classes that are defined; NaN where none is."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0).sum(axis=1)
    mean: np.ndarray = np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
    return mean
