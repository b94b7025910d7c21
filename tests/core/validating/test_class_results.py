"""Curves, thresholds and confusions: by hand on small scenes, and against the evaluator on random ones."""

import json
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np
import pytest

from stages.core.results.classes import ClassResults, OperatingPoint
from stages.core.validating.class_results import measure_classes, trace_curve
from stages.core.validating.coco_ap import MAX_DETECTIONS, measure_ap
from stages.core.validating.coco_matching import IouType, compare_results, match_results, measure_precision
from tests.core.validating.test_coco_ap import encode, for_type, random_scenes

A, B, NEVER = 1, 2, 3
LEFT, RIGHT, BELOW = [0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 10.0, 10.0], [0.0, 20.0, 10.0, 10.0]
HALF_LEFT = [0.0, 0.0, 10.0, 6.0]  # IoU 0.6 with LEFT


def box_object(category: int, box: list[float], *, image: int = 1, crowd: int = 0) -> dict[str, Any]:
    mask = np.zeros((40, 40), bool)
    x, y, width, height = (int(value) for value in box)
    mask[y : y + height, x : x + width] = True
    return {"image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd, "area": box[2] * box[3],
            "segmentation": encode(mask)}  # fmt: skip


def found(category: int, box: list[float], score: float, *, image: int = 1) -> dict[str, Any]:
    return {**box_object(category, box, image=image), "score": score}


def measure(
    objects: list[dict[str, Any]], results: list[dict[str, Any]], *, iou_type: IouType = "bbox", threshold: float = 0.3
) -> ClassResults:
    truth = {
        "images": [{"id": image, "height": 40, "width": 40} for image in (1, 2)],
        "annotations": objects,
        "categories": [{"id": A, "name": "a"}, {"id": B, "name": "b"}, {"id": NEVER, "name": "never"}],
    }
    comparison = compare_results(truth, for_type(results, iou_type), iou_type, max_detections=MAX_DETECTIONS)
    return measure_classes(comparison, score_threshold=threshold)


@dataclass(frozen=True)
class Scene:
    """Objects, detections, and the counts [actual][predicted] of a, b, never, background that they give."""

    id: str
    objects: list[dict[str, Any]]
    results: list[dict[str, Any]]
    counts: list[list[int]] = field(default_factory=lambda: [[0] * 4] * 4)


SCENES = [
    Scene("nothing at all", [], []),
    Scene(
        "all found",
        [box_object(A, LEFT), box_object(B, RIGHT)],
        [found(A, LEFT, 0.9), found(B, RIGHT, 0.8)],
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ),
    Scene("missed", [box_object(A, LEFT)], [], [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]),
    Scene(
        "below the threshold: missed",
        [box_object(A, LEFT)],
        [found(A, LEFT, 0.29)],
        [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ),
    Scene(
        "on background, in an image without objects",
        [box_object(A, LEFT)],
        [found(A, LEFT, 0.9), found(NEVER, LEFT, 0.9, image=2)],
        [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]],
    ),
    Scene(
        "taken for another class",
        [box_object(A, LEFT)],
        [found(B, HALF_LEFT, 0.9)],
        [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ),
    Scene(
        "the right class wins over a better score of a wrong one, which is then on background",
        [box_object(A, LEFT)],
        [found(B, LEFT, 0.95), found(A, HALF_LEFT, 0.4)],
        [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]],
    ),
    Scene(
        "found twice",
        [box_object(A, LEFT)],
        [found(A, LEFT, 0.9), found(A, HALF_LEFT, 0.8)],
        [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]],
    ),
    Scene(
        "a crowd of its class excuses any number, one of another class none",
        [box_object(A, LEFT, crowd=1)],
        [found(A, LEFT, 0.9), found(A, HALF_LEFT, 0.8), found(B, LEFT, 0.7)],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]],
    ),
    Scene(
        "so does a difficult object, and an ordinary one beside it keeps its detection",
        [{**box_object(A, LEFT, crowd=1), "difficult": 1}, box_object(A, RIGHT)],
        [found(A, LEFT, 0.9), found(A, HALF_LEFT, 0.8), found(A, RIGHT, 0.7), found(A, BELOW, 0.6)],
        [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]],
    ),
    Scene(
        "swapped",
        [box_object(A, LEFT), box_object(B, RIGHT), box_object(B, BELOW)],
        [found(B, LEFT, 0.9), found(A, RIGHT, 0.8), found(B, BELOW, 0.7)],
        [[0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ),
]


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("scene", SCENES, ids=attrgetter("id"))
def test_confusions_by_hand(scene: Scene, iou_type: IouType) -> None:
    before = json.dumps([scene.objects, scene.results])
    confusion = measure(scene.objects, scene.results, iou_type=iou_type).confusion
    assert confusion.classes == ("a", "b", "never")
    assert [list(row) for row in confusion.counts] == scene.counts
    assert json.dumps([scene.objects, scene.results]) == before


@dataclass(frozen=True)
class Ranking:
    """Scores, whether each matches an object, how many objects there are, and the best (score, precision, recall)."""

    id: str
    scores: list[float]
    hits: list[bool]
    num_objects: int
    best: tuple[float, float, float] | None


RANKINGS = [
    Ranking("no objects", [0.9], [False], 0, None),
    Ranking("no detections", [], [], 3, None),
    Ranking("none matches", [0.9, 0.8], [False, False], 3, None),
    Ranking("all match", [0.9, 0.4], [True, True], 2, (0.4, 1.0, 1.0)),
    Ranking("the last one is not worth it", [0.9, 0.8, 0.3], [True, True, False], 2, (0.8, 1.0, 1.0)),
    Ranking("a miss on the way", [0.9, 0.8, 0.7, 0.6], [True, False, True, False], 2, (0.7, 2 / 3, 1.0)),
    Ranking("of equals the higher threshold", [0.9, 0.8, 0.7, 0.6], [True, False, False, True], 2, (0.9, 1.0, 0.5)),
    Ranking("equal scores come together", [0.9, 0.5, 0.5, 0.5], [True, True, False, False], 2, (0.9, 1.0, 0.5)),
]


@pytest.mark.parametrize("case", RANKINGS, ids=attrgetter("id"))
def test_best_thresholds_by_hand(case: Ranking) -> None:
    best = trace_curve(np.asarray(case.scores), np.asarray(case.hits, bool), num_objects=case.num_objects).best
    if case.best is None:
        assert best is None
        return
    score, precision, recall = case.best
    f1 = 2 * precision * recall / (precision + recall)
    assert best == OperatingPoint(
        score_threshold=score, precision=pytest.approx(precision), recall=pytest.approx(recall), f1=pytest.approx(f1)
    )


def test_a_curve_by_hand() -> None:
    curve = trace_curve(np.asarray([0.9, 0.8, 0.7]), np.asarray([True, False, True]), num_objects=4)
    assert curve.precision == (*[1.0] * 26, *[0.6667] * 25), "recall 0.25 at precision 1, 0.5 at 2/3, no more after it"


def test_a_class_without_objects_has_no_curve_and_its_detections_count_in_the_pool() -> None:
    results = measure([box_object(A, LEFT)], [found(A, LEFT, 0.5), found(NEVER, RIGHT, 0.9)])
    never = results.curves["never"]
    assert (never.num_objects, never.precision, never.best) == (0, (), None)
    assert results.curves["a"].best == OperatingPoint(score_threshold=0.5, precision=1.0, recall=1.0, f1=1.0)
    assert results.overall.best is not None
    assert (results.overall.num_objects, results.overall.best.precision) == (1, 0.5)


def test_one_class() -> None:
    truth = {
        "images": [{"id": 1, "height": 40, "width": 40}],
        "annotations": [box_object(A, LEFT)],
        "categories": [{"id": A, "name": "a"}],
    }
    results = for_type([found(A, LEFT, 0.9), found(A, RIGHT, 0.8)], "bbox")
    one = measure_classes(compare_results(truth, results, "bbox", max_detections=100), score_threshold=0.3)
    assert one.confusion.counts == ((1, 0), (1, 0))
    assert one.curves["a"] == one.overall


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(3))
def test_counts_are_the_evaluators(seed: int, iou_type: IouType) -> None:
    truth, results = random_scenes(seed)
    comparison = compare_results(truth, for_type(results, iou_type), iou_type, max_detections=MAX_DETECTIONS)
    precision = measure_precision(comparison)[0, :, :, 0, 0]

    classes = measure_classes(comparison, score_threshold=0.0)

    ap50 = measure_ap(truth, for_type(results, iou_type), iou_type).per_class_ap50
    for index, (name, curve) in enumerate(classes.curves.items()):
        own = [a for a in truth["annotations"] if a["category_id"] == index + 1 and not a["iscrowd"]]
        assert curve.num_objects == len(own) == sum(classes.confusion.counts[index])
        if not own:
            assert ap50[name] is None
            continue
        padded = np.pad(curve.precision, (0, 101 - len(curve.precision)))
        np.testing.assert_allclose(padded, precision[:, index], atol=5e-5)
        assert np.sum(curve.precision) / 1.01 == pytest.approx(ap50[name], abs=0.01)
    hits = match_results(comparison, iou=0.5)
    real = [entry for entry in hits.values() if not truth["annotations"][entry]["iscrowd"]]
    counts = np.asarray(classes.confusion.counts)
    assert np.trace(counts) == len(real) == len(set(real))
    assert counts[:, :-1].sum() == len(results) - (len(hits) - len(real)), "all but those that crowds excuse"


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_what_a_threshold_leaves_is_matched_as_if_nothing_else_had_been_found(threshold: float) -> None:
    truth, results = random_scenes(4)
    few = [result for result in results if result["score"] >= threshold]
    whole, part = (
        measure_classes(compare_results(truth, for_type(some, "bbox"), "bbox", max_detections=100), score_threshold=t)
        for some, t in ((results, threshold), (few, 0.0))
    )
    assert whole.confusion.counts == part.confusion.counts


def test_more_than_the_most_detections_count_only_the_best() -> None:
    crowded = [found(A, RIGHT, 0.9 - number / 1000) for number in range(120)]
    classes = measure([box_object(A, LEFT)], [*crowded, found(A, LEFT, 0.4)])
    assert classes.confusion.counts[0] == (0, 0, 0, 1)
    assert classes.confusion.counts[-1][0] == MAX_DETECTIONS


def test_images_without_objects_count() -> None:
    """A false alarm on an empty image, better than the only true detection, halves AP50."""
    objects, hit = [box_object(A, LEFT)], found(A, LEFT, 0.8)
    truth = {
        "images": [{"id": 1, "height": 40, "width": 40}, {"id": 2, "height": 40, "width": 40}],
        "annotations": objects,
        "categories": [{"id": A, "name": "a"}],
    }
    for iou_type in ("bbox", "segm"):
        assert measure_ap(truth, for_type([hit], iou_type), iou_type).ap50 == pytest.approx(100)
        alarm = found(A, LEFT, 0.9, image=2)
        assert measure_ap(truth, for_type([hit, alarm], iou_type), iou_type).ap50 == pytest.approx(50)
