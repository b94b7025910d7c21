"""Detections of a file against the float model's: the same objects, found again?"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stages.core.processing.detections import Detections
from stages.core.results.validation import Agreement, MovedImage

MATCH_IOU = 0.5
NUM_MOVED = 20


@dataclass(frozen=True, eq=False)
class Matching:
    """Matched pairs of one image.

    Attributes:
      ious, score_shifts: float64 [matched]; a shift is the file's score minus the float model's.
      num_reference, num_detections: How many there were on each side.
    """

    ious: np.ndarray
    score_shifts: np.ndarray
    num_reference: int
    num_detections: int

    @property
    def num_matched(self) -> int:
        return len(self.ious)


def measure_agreement(triples: Iterable[tuple[int, Detections, Detections]], *, score_threshold: float) -> Agreement:
    """Agreement over images.

    Args:
      triples: (image id, float model's detections, file's detections).
      score_threshold: Detections below are left out on both sides.
    """
    matchings = {
        image_id: pair_detections(reference.above(score_threshold), got.above(score_threshold))
        for image_id, reference, got in triples
    }
    every = list(matchings.values())
    num_matched = sum(matching.num_matched for matching in every)
    num_reference = sum(matching.num_reference for matching in every)
    num_detections = sum(matching.num_detections for matching in every)
    ious = np.concatenate([matching.ious for matching in every]) if every else np.empty(0)
    shifts = np.concatenate([matching.score_shifts for matching in every]) if every else np.empty(0)
    return Agreement(
        precision=_ratio(num_matched, num_detections),
        recall=_ratio(num_matched, num_reference),
        f1=_ratio(2 * num_matched, num_reference + num_detections),
        mean_iou=_ratio(float(ious.sum()), len(ious)),
        score_shift=_ratio(float(shifts.sum()), len(shifts)),
        largest_score_shift=float(np.abs(shifts).max()) if len(shifts) else None,
        score_threshold=score_threshold,
        num_reference=num_reference,
        num_detections=num_detections,
        num_matched=num_matched,
        most_moved=find_most_moved(matchings),
    )


def pair_detections(reference: Detections, got: Detections) -> Matching:
    """One-to-one matches of equal class and IoU of at least 0.5: best scores choose first, and take the best IoU."""
    ious = box_ious(got.boxes_xyxy, reference.boxes_xyxy)
    ious[got.classes[:, None] != reference.classes[None, :]] = 0.0
    found_ious, shifts = [], []
    for index in np.argsort(-got.scores, kind="stable"):
        if len(reference) == 0:
            break
        best = int(np.argmax(ious[index]))
        if ious[index, best] < MATCH_IOU:
            continue
        found_ious.append(float(ious[index, best]))
        shifts.append(float(got.scores[index]) - float(reference.scores[best]))
        ious[:, best] = 0.0
    return Matching(np.asarray(found_ious), np.asarray(shifts), len(reference), len(got))


def box_ious(boxes_xyxy: np.ndarray, others_xyxy: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair: float64 [N, M] of boxes [N, 4] and [M, 4]."""
    boxes, others = boxes_xyxy.astype(np.float64)[:, None], others_xyxy.astype(np.float64)[None]
    sides = np.minimum(boxes[..., 2:], others[..., 2:]) - np.maximum(boxes[..., :2], others[..., :2])
    intersection: np.ndarray = np.prod(np.maximum(sides, 0), axis=-1)
    union = np.prod(boxes[..., 2:] - boxes[..., :2], -1) + np.prod(others[..., 2:] - others[..., :2], -1) - intersection
    ious: np.ndarray = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return ious


def find_most_moved(matchings: dict[int, Matching]) -> tuple[MovedImage, ...]:
    """The 20 images with the lowest F1; among equals, those whose scores moved most in the mean."""
    images = [to_moved(image_id, matching) for image_id, matching in matchings.items()]
    return tuple(sorted(images, key=order_of_moved)[:NUM_MOVED])


def to_moved(image_id: int, matching: Matching) -> MovedImage:
    """How far one image moved."""
    f1 = _ratio(2 * matching.num_matched, matching.num_reference + matching.num_detections)
    shift = float(np.mean(np.abs(matching.score_shifts))) if matching.num_matched else 0.0
    return MovedImage(image_id=image_id, f1=1.0 if f1 is None else f1, score_shift=shift)


def order_of_moved(image: MovedImage) -> tuple[float, float, int]:
    """What images are sorted by, the one that moved most first."""
    return image.f1, -image.score_shift, image.image_id


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None
