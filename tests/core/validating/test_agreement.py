"""Matching of detections, worked out by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from stages.core.processing.detections import Detections
from stages.core.validating.agreement import NUM_MOVED, box_ious, measure_agreement, pair_detections

Found = tuple[tuple[float, float, float, float], float, int]
A: Found = ((0, 0, 10, 10), 0.9, 1)
B: Found = ((20, 20, 40, 40), 0.8, 2)


def detections(*found: Found) -> Detections:
    ordered: Sequence[Found] = sorted(found, key=lambda entry: -entry[1])
    return Detections(
        boxes_xyxy=np.asarray([box for box, _, _ in ordered], np.float32).reshape(-1, 4),
        scores=np.asarray([score for _, score, _ in ordered], np.float32),
        classes=np.asarray([category for _, _, category in ordered], np.int32),
        image_size=(50, 50),
    )


def agree(reference: Detections, got: Detections) -> tuple[float | None, float | None, float | None]:
    result = measure_agreement([(1, reference, got)], score_threshold=0.3)
    return result.precision, result.recall, result.f1


def test_the_same_detections_agree() -> None:
    result = measure_agreement([(1, detections(A, B), detections(A, B))], score_threshold=0.3)

    assert (result.precision, result.recall, result.f1, result.mean_iou, result.score_shift) == (1, 1, 1, 1, 0)
    assert (result.num_reference, result.num_detections, result.num_matched) == (2, 2, 2)


def test_iou_and_score_shift_are_means_over_pairs() -> None:
    moved_a: Found = ((0, 0, 10, 8), 0.7, 1)  # IoU 0.8, score -0.2

    result = measure_agreement([(1, detections(A, B), detections(moved_a, B))], score_threshold=0.3)

    assert result.mean_iou == pytest.approx((0.8 + 1) / 2)
    assert result.score_shift == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("reference", "got", "expected"),
    [
        ([A, B], [A], (1, 0.5, 2 / 3)),
        ([A], [A, B], (0.5, 1, 2 / 3)),
        ([A], [(A[0], 0.9, 2)], (0, 0, 0)),
        ([A], [((0, 0, 10, 5), 0.9, 1)], (1, 1, 1)),
        ([A], [((0, 0, 10, 4.9), 0.9, 1)], (0, 0, 0)),
        ([A], [A, ((0, 0, 10, 9), 0.8, 1)], (0.5, 1, 2 / 3)),
        ([], [A], (0, None, 0)),
        ([A], [], (None, 0, 0)),
        ([], [], (None, None, None)),
        ([(A[0], 0.2, 1)], [(A[0], 0.29, 1)], (None, None, None)),
    ],
    ids=[
        "one_lost", "one_too_many", "another_class", "iou_exactly_half", "iou_below_half", "matched_once_only",
        "nothing_to_find", "nothing_found", "both_empty", "below_the_threshold",
    ],
)  # fmt: skip
def test_counting(reference: list[Found], got: list[Found], expected: tuple[float | None, ...]) -> None:
    assert agree(detections(*reference), detections(*got)) == pytest.approx(expected)


def test_the_best_score_chooses_first() -> None:
    strong: Found = ((0, 0, 10, 8), 0.9, 1)
    weak: Found = ((0, 0, 10, 10), 0.5, 1)

    matching = pair_detections(detections(A), detections(strong, weak))

    assert matching.ious.tolist() == pytest.approx([0.8])


def test_the_images_that_moved_most_come_first() -> None:
    triples = [(image_id, detections(A, B), detections(A, B)) for image_id in range(1, 31)]
    triples[6] = (7, detections(A, B), detections(A))
    triples[11] = (12, detections(A, B), detections(B, (A[0], 0.6, 1)))
    triples[19] = (20, detections(A), detections(B))

    moved = measure_agreement(triples, score_threshold=0.3).most_moved

    assert len(moved) == NUM_MOVED == 20
    assert [image.image_id for image in moved[:4]] == [20, 7, 12, 1]
    assert [image.f1 for image in moved[:3]] == pytest.approx([0, 2 / 3, 1])
    assert moved[2].score_shift == pytest.approx(0.15)


def test_box_ious() -> None:
    boxes = np.asarray([[0, 0, 2, 2], [0, 0, 0, 0]], np.float32)

    found = box_ious(boxes, np.asarray([[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6]], np.float32))

    np.testing.assert_allclose(found, [[1 / 7, 1, 0], [0, 0, 0]])
