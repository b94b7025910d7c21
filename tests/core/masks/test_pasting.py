"""Where a mask's pixels land in the image."""

import time

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from stages.core.masks.pasting import detections_to_rles, paste_mask
from stages.core.processing.detections import Detections


def reference_paste(mask: np.ndarray, box: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Pixel by pixel: bilinear between cell centres, 0 outside of the mask."""
    padded = np.pad(mask, 1)
    pasted = np.zeros(image_size, bool)
    for y in range(image_size[0]):
        for x in range(image_size[1]):
            if not (box[0] - 1 < x + 0.5 < box[2] + 1 and box[1] - 1 < y + 0.5 < box[3] + 1):
                continue
            row = (y + 0.5 - box[1]) / (box[3] - box[1]) * mask.shape[0] - 0.5 + 1
            column = (x + 0.5 - box[0]) / (box[2] - box[0]) * mask.shape[1] - 0.5 + 1
            top, left = int(np.floor(row)), int(np.floor(column))
            if not (0 <= top < padded.shape[0] - 1 and 0 <= left < padded.shape[1] - 1):
                continue
            square, down, right = padded[top : top + 2, left : left + 2], row - top, column - left
            value = np.asarray([1 - down, down]) @ square @ np.asarray([1 - right, right])
            pasted[y, x] = value >= 0.5
    return pasted


def one(mask: np.ndarray, box: tuple[float, ...], image_size: tuple[int, int]) -> Detections:
    return Detections(
        boxes_xyxy=np.asarray([box], np.float32),
        scores=np.ones(1, np.float32),
        classes=np.ones(1, np.int32),
        masks=mask[None].astype(np.float32),
        image_size=image_size,
    )


BOXES = {
    "inside": (10.3, 5.7, 33.1, 29.9),
    "whole_pixels": (8.0, 8.0, 24.0, 24.0),
    "at_the_border": (0.0, 20.5, 15.2, 40.0),
    "smaller_than_the_mask": (20.2, 20.2, 25.9, 23.1),
    "whole_image": (0.0, 0.0, 50.0, 40.0),
}


@pytest.mark.parametrize("name", BOXES)
def test_every_pixel_is_where_the_definition_puts_it(name: str) -> None:
    mask = np.random.default_rng(0).random((7, 7))
    box, size = BOXES[name], (40, 50)

    rles = detections_to_rles(one(mask, box, size))

    expected = reference_paste(mask, np.asarray(box), size)
    differing = np.argwhere(coco_mask.decode(rles[0]).astype(bool) != expected)
    assert len(differing) == 0, differing


def test_a_full_mask_of_whole_pixels_is_its_box() -> None:
    pasted, top, left = paste_mask(np.ones((28, 28)), np.asarray([8, 4, 20, 10]), (30, 30))

    assert (top, left, pasted.shape) == (4, 8, (6, 12))
    # Only at the corners do both fades meet, and a pixel of several cells is not reached by them.
    assert pasted[1:-1, 1:-1].all()


def test_one_canvas_keeps_masks_apart() -> None:
    boxes = np.asarray([[0, 0, 10, 10], [20, 20, 30, 30], [5, 5, 15, 15]], np.float32)
    three = Detections(
        boxes_xyxy=boxes,
        scores=np.asarray([0.9, 0.8, 0.7], np.float32),
        classes=np.ones(3, np.int32),
        masks=np.ones((3, 4, 4), np.float32),
        image_size=(32, 32),
    )

    pasted = [coco_mask.decode(rle) for rle in detections_to_rles(three)]

    for box, mask in zip(boxes.astype(int), pasted, strict=True):
        outside = mask.copy()
        outside[box[1] : box[3], box[0] : box[2]] = 0
        assert not outside.any()
        assert mask.sum() > 80


def test_no_detections_and_no_masks() -> None:
    empty = Detections(
        boxes_xyxy=np.zeros((0, 4), np.float32),
        scores=np.zeros(0, np.float32),
        classes=np.zeros(0, np.int32),
        masks=np.zeros((0, 28, 28), np.float32),
        image_size=(9, 9),
    )
    assert detections_to_rles(empty) == []
    with pytest.raises(ValueError, match="no masks"):
        detections_to_rles(Detections(**{**vars(empty), "masks": None}))


def test_four_thousand_masks_take_a_few_seconds_at_most() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 150, (100, 2))
    boxes = np.concatenate([low, np.minimum(low + rng.uniform(10, 120, (100, 2)), 256)], axis=1)
    crowded = Detections(
        boxes_xyxy=boxes.astype(np.float32),
        scores=np.linspace(1, 0.1, 100, dtype=np.float32),
        classes=np.ones(100, np.int32),
        masks=rng.random((100, 28, 28), np.float32),
        image_size=(256, 256),
    )

    start = time.perf_counter()
    for _ in range(40):
        detections_to_rles(crowded)

    assert time.perf_counter() - start < 4  # about 0.5 s on an idle machine
