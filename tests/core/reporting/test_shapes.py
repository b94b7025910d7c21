import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask

from stages.core.processing.detections import Detections
from stages.core.reporting.shapes import (
    Outline,
    annotations_to_shapes,
    detections_to_shapes,
    mask_to_outlines,
    segmentation_to_outlines,
)

SIZE = (40, 60)
SQUARE = [10.0, 5.0, 30.0, 5.0, 30.0, 25.0, 10.0, 25.0]


def extent(outlines: tuple[Outline, ...]) -> tuple[float, float, float, float]:
    points = np.asarray([point for outline in outlines for point in outline])
    return (*points.min(axis=0), *points.max(axis=0))


def rle_forms() -> dict[str, object]:
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[5:25, 10:30] = 1
    packed = coco_mask.encode(mask)
    runs, value, plain = 0, 0, []
    for pixel in mask.flatten(order="F"):
        if pixel != value:
            plain.append(runs)
            runs, value = 0, pixel
        runs += 1
    return {
        "polygon": [SQUARE],
        "compressed": packed,
        "compressed text": {**packed, "counts": packed["counts"].decode()},
        "plain runs": {"size": list(SIZE), "counts": [*plain, runs]},
    }


@pytest.mark.parametrize("form", ["polygon", "compressed", "compressed text", "plain runs"])
def test_every_form_of_segmentation_gives_the_same_outline(form: str) -> None:
    outlines = segmentation_to_outlines(rle_forms()[form], SIZE)
    assert extent(outlines) == pytest.approx((10, 5, 30, 25), abs=0.6)


@pytest.mark.parametrize("nothing", [None, []])
def test_no_segmentation_is_no_outline(nothing: object) -> None:
    assert segmentation_to_outlines(nothing, SIZE) == ()


def test_a_hole_has_an_outline_of_its_own() -> None:
    mask = np.ones((20, 20), bool)
    mask[6:14, 6:14] = False
    assert len(mask_to_outlines(mask, top=0, left=0)) == 2


def test_an_empty_mask_has_no_outline() -> None:
    assert mask_to_outlines(np.zeros((5, 5), bool), top=0, left=0) == ()


def test_detections_become_shapes_with_names_scores_and_masks_in_place() -> None:
    masks = np.zeros((1, 28, 28), np.float32)
    masks[0, :, :14] = 1.0
    detections = Detections(
        boxes_xyxy=np.asarray([[20, 10, 48, 38]], np.float32),
        scores=np.asarray([0.876], np.float32),
        classes=np.asarray([2], np.int32),
        masks=masks,
        image_size=SIZE,
    )
    (shape,) = detections_to_shapes(detections, {2: "square"})
    assert shape.text == "square 0.88"
    assert extent(shape.outlines) == pytest.approx((20, 10, 34, 38), abs=1.1)


def test_ground_truth_has_no_score_and_what_is_ignored_is_marked() -> None:
    entries = [
        {"bbox": [1, 2, 3, 4], "category_id": 1, "iscrowd": 0},
        {"bbox": [1, 2, 3, 4], "category_id": 7, "iscrowd": 1},
        {"bbox": [1, 2, 3, 4], "category_id": 1, "iscrowd": 1, "difficult": 1},
    ]
    plain, crowd, difficult = annotations_to_shapes(entries, {1: "circle"}, SIZE)
    assert (plain.text, plain.box_xyxy) == ("circle", (1, 2, 4, 6))
    assert crowd.text == "7 (crowd)"
    assert difficult.text == "circle (difficult)"
