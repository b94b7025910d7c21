"""Prepared data and detector must fit before anything heavy starts."""

import json
from typing import Any

import pytest

from stages.core.base.errors import DataError, TrainingError
from stages.core.detectors.data import check_batch_size, check_masks
from stages.core.tables.detectors import DETECTORS

SQUARE = [[0, 0, 9, 0, 9, 9, 0, 9]]


def coco(*segmentations: Any) -> bytes:
    objects = [{"id": index + 1, "segmentation": mask} for index, mask in enumerate(segmentations)]
    return json.dumps({"annotations": objects}).encode()


def test_a_mask_model_refuses_boxes_without_masks() -> None:
    with pytest.raises(
        DataError, match=r"2 of 3 objects have no mask \(first: annotation 2\).*retinanet_mobiledet_cpu"
    ):
        check_masks(coco(SQUARE, [], None), "val/annotations.json", DETECTORS["maskrcnn_tiny"])


def test_masks_everywhere_are_fine() -> None:
    check_masks(coco(SQUARE, {"size": [4, 4], "counts": "abc"}), "a.json", DETECTORS["maskrcnn_tiny"])


def test_a_batch_larger_than_the_split_is_refused() -> None:
    check_batch_size("retinanet_mobiledet_tiny", 5, 5)
    with pytest.raises(TrainingError) as error:
        check_batch_size("retinanet_mobiledet_tiny", 6, 5)
    assert str(error.value) == (
        "params.yaml: train.retinanet_mobiledet_tiny.batch_size 6 is larger than the train split (5 images); "
        "lower it to at most 5"
    )
