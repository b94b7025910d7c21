"""How well anchors fit the objects, and what is advised where they do not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.core.training.anchor_check import anchor_recall, check_anchors, read_boxes
from tests.experiment_builder import experiment

pytestmark = pytest.mark.slow


def write_boxes(path: Path, sides: list[float], *, size: int = 256, crowd: bool = False) -> Path:
    """One image with square objects of these sides."""
    annotations: list[dict[str, Any]] = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": [20 + i, 30, side, side], "iscrowd": int(crowd)}
        for i, side in enumerate(sides, start=1)
    ]
    image = {"id": 1, "file_name": "a.png", "height": size, "width": size // 2}
    path.write_text(json.dumps({"images": [image], "annotations": annotations, "categories": []}))
    return path


def task_config(**anchors: Any) -> Any:
    return experiment(input_size=[256, 256], anchors=anchors).task


def test_boxes_are_scaled_as_the_network_sees_them(tmp_path: Path) -> None:
    annotations = write_boxes(tmp_path / "a.json", [40], size=512)
    found = read_boxes(annotations, (256, 256), resize="letterbox")
    np.testing.assert_allclose(found, [[15, 10.5, 35, 30.5]])
    found = read_boxes(annotations, (256, 256), resize="stretch")  # the image is half as wide as high
    np.testing.assert_allclose(found, [[15, 21, 35, 61]])
    assert not len(read_boxes(write_boxes(tmp_path / "b.json", [40], crowd=True), (256, 256), resize="letterbox"))


def test_recall_counts_what_overlaps_by_half() -> None:
    anchors = np.asarray([[0, 0, 10, 10], [0, 0, 40, 40]], np.float32)
    boxes = np.asarray([[0, 0, 10, 10], [0, 0, 10, 5.1], [0, 0, 10, 4.9], [50, 50, 60, 60]], np.float32)
    assert anchor_recall(boxes, anchors) == 0.5


def test_good_anchors_are_stated_without_a_warning(tmp_path: Path) -> None:
    said = check_anchors(task_config(), write_boxes(tmp_path / "a.json", [40.0, 64.0, 90.0]), "train.x")
    assert said == "anchors: 100.0 % of 3 objects overlap one by IoU 0.5 or more"


def test_small_objects_are_a_warning_with_the_size_that_fits(tmp_path: Path) -> None:
    annotations = write_boxes(tmp_path / "a.json", [14.0] * 6 + [80.0] * 4)
    said = check_anchors(task_config(), annotations, "train.retinanet_mobiledet_tiny")
    assert said.startswith("warning: anchors: 40.0 % of 10 objects")
    assert "train.retinanet_mobiledet_tiny.anchors.size" in said
    assert "reaches 100.0 %" in said


def test_where_no_size_helps_the_input_is_too_small(tmp_path: Path) -> None:
    said = check_anchors(task_config(), write_boxes(tmp_path / "a.json", [3.0, 80.0]), "train.x")
    assert "a larger input_size may" in said


def test_a_split_without_objects_says_nothing(tmp_path: Path) -> None:
    assert check_anchors(task_config(), write_boxes(tmp_path / "a.json", []), "train.x") == ""
