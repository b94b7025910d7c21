from typing import Any

import numpy as np
import pytest

from stages.core.processing.detections import Detections
from stages.core.reporting.against_truth import f1_against_truth

CIRCLE, CROWD = ([10, 10, 20, 20], 1, 0), ([50, 50, 40, 40], 1, 1)

CASES: dict[str, tuple[list[tuple[list[int], int, int]], list[tuple[list[int], int]], float]] = {
    "found": ([CIRCLE], [([10, 10, 30, 30], 1)], 1.0),
    "of another class": ([CIRCLE], [([10, 10, 30, 30], 2)], 0.0),
    "beside it": ([CIRCLE], [([30, 30, 50, 50], 1)], 0.0),
    "found twice": ([CIRCLE], [([10, 10, 30, 30], 1), ([11, 11, 31, 31], 1)], 2 / 3),
    "missed": ([CIRCLE], [], 0.0),
    "nothing to find": ([], [], 1.0),
    "something where nothing is": ([], [([10, 10, 30, 30], 1)], 0.0),
    "a crowd need not be found": ([CIRCLE, CROWD], [([10, 10, 30, 30], 1)], 1.0),
    "inside a crowd": ([CIRCLE, CROWD], [([10, 10, 30, 30], 1), ([60, 60, 70, 70], 1)], 1.0),
    "inside a crowd of another class": ([CIRCLE, CROWD], [([10, 10, 30, 30], 1), ([60, 60, 70, 70], 2)], 2 / 3),
    "only a crowd": ([CROWD], [([60, 60, 70, 70], 1)], 1.0),
}


@pytest.mark.parametrize("case", CASES)
def test_f1_of_one_image(case: str) -> None:
    objects, found, expected = CASES[case]
    annotations: list[dict[str, Any]] = [
        {"bbox": box, "category_id": category, "iscrowd": crowd} for box, category, crowd in objects
    ]
    detections = Detections(
        boxes_xyxy=np.asarray([box for box, _ in found], np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.5, len(found), dtype=np.float32),
        classes=np.asarray([category for _, category in found], np.int32),
        image_size=(100, 100),
    )
    assert f1_against_truth(annotations, detections) == pytest.approx(expected)
