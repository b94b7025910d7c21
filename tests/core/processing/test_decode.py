"""Output tensors to objects in pixels of the original image."""

from typing import Any

import numpy as np
import pytest

from stages.core.processing.decode import clip_boxes, count_detections, crop_masks, outputs_to_detections
from stages.core.processing.preprocess import place_image
from tests.tiny_project import tiny_interface

PORTRAIT = (400, 200)
PLACEMENT = place_image(PORTRAIT, tiny_interface("retinanet_mobiledet_tiny").input)
"""(height, width): scaled by 1/4, the image fills the left half of the input."""


def graph_outputs(num: int = 2, **changes: Any) -> dict[str, np.ndarray]:
    outputs = {
        "detection_boxes": np.asarray([[[0, 0, 0.5, 0.25], [0.5, 0.25, 1, 0.5], [9, 9, 9, 9]]], np.float32),
        "detection_scores": np.asarray([[0.4, 0.8, 0.99]], np.float32),
        "detection_classes": np.asarray([[0, 2, 7]], np.float32),
        "num_detections": np.asarray([num], np.float32),
    }
    return outputs | changes


def test_boxes_scores_and_classes_best_first() -> None:
    found = outputs_to_detections(graph_outputs(), tiny_interface("retinanet_mobiledet_tiny"), PLACEMENT)

    np.testing.assert_allclose(found.boxes_xyxy, [[100, 200, 200, 400], [0, 0, 100, 200]])
    np.testing.assert_allclose(found.scores, [0.8, 0.4])
    assert found.classes.tolist() == [3, 1]
    assert found.image_size == PORTRAIT
    assert found.masks is None


@pytest.mark.parametrize(
    ("value", "expected"), [(2.0, 2), (0, 0), (-1, 0), (1e9, 3), (np.nan, 0), (np.inf, 0)], ids=str
)
def test_a_broken_count_reads_no_foreign_memory(value: float, expected: int) -> None:
    assert count_detections(np.asarray([value], np.float32), limit=3) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"detection_scores": np.asarray([[0.0, np.nan, 0.9]], np.float32)},
        {"detection_boxes": np.asarray([[[0, 0, 0, 0.5], [0, np.inf, 1, 1], [0, 0, 1, 1]]], np.float32)},
        {"detection_boxes": np.asarray([[[0, 0.6, 1, 0.9], [0, np.nan, 1, 1], [0, 0, 1, 1]]], np.float32)},
    ],
    ids=["no_score", "no_area_or_infinite", "in_the_padding_or_nan"],
)
def test_what_is_not_an_object_is_dropped(changes: dict[str, np.ndarray]) -> None:
    found = outputs_to_detections(graph_outputs(**changes), tiny_interface("retinanet_mobiledet_tiny"), PLACEMENT)

    assert len(found) == 0


def test_outputs_without_the_batch_dimension_decode_alike() -> None:
    interface, placement = tiny_interface("retinanet_mobiledet_tiny"), PLACEMENT
    flat = {name: array[0] for name, array in graph_outputs().items()}

    np.testing.assert_array_equal(
        outputs_to_detections(flat, interface, placement).boxes_xyxy,
        outputs_to_detections(graph_outputs(), interface, placement).boxes_xyxy,
    )


def test_masks_follow_their_boxes_and_are_cropped_with_them() -> None:
    left_half = np.zeros((1, 3, 4, 4), np.float32)
    left_half[0, 0, :, :2] = 1
    left_half[0, 1] = 0.25
    outputs = graph_outputs(
        detection_boxes=np.asarray([[[0, 0.25, 1, 0.75], [0, 0, 1, 0.5], [0, 0, 0, 0]]], np.float32),
        detection_masks=left_half,
    )

    found = outputs_to_detections(outputs, tiny_interface("maskrcnn_tiny"), PLACEMENT)

    assert found.masks is not None
    np.testing.assert_allclose(found.boxes_xyxy, [[0, 0, 200, 400], [100, 0, 200, 400]])
    np.testing.assert_allclose(found.masks[0], 0.25)
    # Of the second box only the left half lies in the image, and that is where its mask is: all ones but at the seam.
    np.testing.assert_allclose(found.masks[1][:, :3], 1)
    assert (found.masks[1][:, 3] > 0.5).all()


def test_cropping_to_the_box_itself_changes_nothing() -> None:
    masks = np.random.default_rng(0).random((2, 5, 5)).astype(np.float32)
    boxes = np.asarray([[0, 0, 10, 10], [2, 3, 7, 9]], np.float32)

    np.testing.assert_array_equal(crop_masks(masks, boxes, clip_boxes(boxes, (10, 10))), masks)
