"""Mask targets at the centres of cells: pasted into the image again, they give the mask that they were cut from."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.vision.modeling.layers.mask_sampler import MaskSampler
from official.vision.ops import preprocess_ops

from stages.core.masks.pasting import paste_mask
from stages.core.training.augmenting.sample import BOXES, IMAGE, IS_CROWD, MASKS
from stages.core.training.mask_targets import CentredMaskSampler, cut_masks, sample_cells

HEIGHT, WIDTH = 60, 80
CELLS = 112
TARGET = 28
ELLIPSES = {
    "upper left": (15.0, 17.0, 11.0, 13.0),
    "lower right": (44.0, 61.0, 12.0, 15.0),
    "small": (30.5, 40.5, 5.0, 6.0),
    "wide": (30.0, 40.0, 8.0, 35.0),
}
"""Centre (y, x) and half axes in pixels."""


def ellipse(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mask [HEIGHT, WIDTH] and its tight box [y_min, x_min, y_max, x_max] in pixels."""
    y, x, half_y, half_x = ELLIPSES[name]
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    mask = ((rows - y) / half_y) ** 2 + ((columns - x) / half_x) ** 2 <= 1
    ys, xs = np.nonzero(mask)
    return mask, np.asarray([ys.min(), xs.min(), ys.max() + 1, xs.max() + 1], np.float32)


def sample_of(*names: str, crowd: bool = False) -> dict[str, Any]:
    """Ellipses as a decoded sample; a crowd in front of them if asked."""
    masks, boxes = zip(*(ellipse(name) for name in names), strict=True)
    size = np.asarray([HEIGHT, WIDTH] * 2, np.float32)
    all_masks, all_boxes = np.stack(masks).astype(np.float32), np.stack(boxes) / size
    if crowd:
        all_masks = np.concatenate([np.ones((1, HEIGHT, WIDTH), np.float32), all_masks])
        all_boxes = np.concatenate([np.asarray([[0, 0, 1, 1]], np.float32), all_boxes])
    return {
        IMAGE: tf.zeros([HEIGHT, WIDTH, 3], tf.uint8),
        BOXES: tf.constant(all_boxes),
        MASKS: tf.constant(all_masks),
        IS_CROWD: tf.constant([crowd] * crowd + [False] * len(names)),
    }


def image_info(scale: float = 1.0, offset: tuple[float, float] = (0.0, 0.0)) -> tf.Tensor:
    """As the parser gives it: original size, size that is seen, scale, offset."""
    seen = [HEIGHT * scale - offset[0], WIDTH * scale - offset[1]]
    return tf.constant([[HEIGHT, WIDTH], seen, [scale, scale], offset], tf.float32)


def targets(sampler: Any, boxes: np.ndarray, masks: Any) -> np.ndarray:
    """[N, TARGET, TARGET] of regions that are the objects' boxes."""
    num = len(boxes)
    batch, ones = tf.constant(boxes[None]), tf.ones([1, num], tf.int32)
    regions, classes, found = sampler(batch, batch, ones, tf.range(num)[None], masks[None])
    assert classes.shape == (1, num)
    np.testing.assert_array_equal(regions[0], boxes)
    return np.asarray(found[0])


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def paste(mask: np.ndarray, box_yxyx: np.ndarray) -> np.ndarray:
    pasted, top, left = paste_mask(mask, box_yxyx[[1, 0, 3, 2]], (HEIGHT, WIDTH))
    canvas = np.zeros((HEIGHT, WIDTH), bool)
    canvas[top : top + pasted.shape[0], left : left + pasted.shape[1]] = pasted
    return canvas


def test_cells_are_sampled_at_their_centres() -> None:
    columns = np.broadcast_to(np.arange(WIDTH) + 0.5, (2, HEIGHT, WIDTH)).astype(np.float32)
    boxes = np.asarray([[3.25, 5.5, 40.75, 61.0], [10.0, 2.0, 12.0, 70.0]], np.float32)
    found = sample_cells(tf.constant(columns), tf.constant(boxes), 8).numpy()
    for cells, (_, low, _, high) in zip(found, boxes, strict=True):
        centres = low + (np.arange(8) + 0.5) / 8 * (high - low)
        np.testing.assert_allclose(cells, np.broadcast_to(centres, (8, 8)), rtol=1e-4)


def test_targets_of_any_region_are_sampled_at_their_centres() -> None:
    ramp = np.broadcast_to((np.arange(CELLS) + 0.5) / CELLS, (1, CELLS, CELLS)).astype(np.float32)
    box, region = np.asarray([[10.0, 20.0, 40.0, 60.0]], np.float32), np.asarray([[14.0, 27.0, 33.0, 49.0]], np.float32)
    sampler = CentredMaskSampler(mask_target_size=TARGET, num_sampled_masks=1)
    one, zero = tf.ones([1, 1], tf.int32), tf.zeros([1, 1], tf.int32)
    _, _, found = sampler(tf.constant(region[None]), tf.constant(box[None]), one, zero, ramp[None])
    centres = 27 + (np.arange(TARGET) + 0.5) / TARGET * 22
    np.testing.assert_allclose(found[0, 0], np.broadcast_to((centres - 20) / 40, (TARGET, TARGET)), atol=1e-4)


@pytest.mark.parametrize("name", ELLIPSES)
def test_pasted_targets_are_the_masks(name: str) -> None:
    mask, box = ellipse(name)
    sample = sample_of(name)
    spans, cut = cut_masks(sample, image_info(), side=CELLS, outer_boxes_scale=1.0, skip_crowds=True)
    np.testing.assert_allclose(spans, box[None], atol=1e-4)
    found = paste(targets(CentredMaskSampler(TARGET, 1), box[None], cut)[0], box)

    theirs = tf.image.crop_and_resize(sample[MASKS][..., None], sample[BOXES], [0], [CELLS, CELLS])[..., 0]
    stock = paste(targets(MaskSampler(TARGET, 1), box[None], theirs)[0], box)
    assert iou(found, mask) > 0.97
    assert iou(found, mask) >= iou(stock, mask)


def test_model_gardens_own_targets_lie_off() -> None:
    losses = []
    for name in ELLIPSES:
        mask, box = ellipse(name)
        sample = sample_of(name)
        theirs = tf.image.crop_and_resize(sample[MASKS][..., None], sample[BOXES], [0], [CELLS, CELLS])[..., 0]
        losses.append(1 - iou(paste(targets(MaskSampler(TARGET, 1), box[None], theirs)[0], box), mask))
    assert max(losses) > 0.02, "it has been mended: CentredMaskSampler can go"


def test_scaled_and_cut_images_keep_what_they_show() -> None:
    sample, info = sample_of("upper left", "lower right", crowd=True), image_info(2.0, (30.0, 44.0))
    spans, cut = cut_masks(sample, info, side=CELLS, outer_boxes_scale=1.0, skip_crowds=True)
    # The upper left one is cut at the left and top border of what is seen: 15 and 22 pixels of the original.
    _, box = ellipse("upper left")
    np.testing.assert_allclose(spans[0], [0, 0, (box[2] - 15) * 2, (box[3] - 22) * 2], atol=1e-3)
    for index, name in enumerate(("upper left", "lower right")):
        mask, _ = ellipse(name)
        span = (spans[index].numpy() + np.asarray([30, 44, 30, 44], np.float32)) / 2
        found = paste(targets(CentredMaskSampler(TARGET, 1), span[None], cut[index : index + 1])[0], span)
        seen = mask & paste(np.ones((TARGET, TARGET)), span)
        assert iou(found, seen) > 0.95


def test_what_spans_more_than_the_box_is_cut_so() -> None:
    spans, cut = cut_masks(sample_of("small"), image_info(), side=CELLS, outer_boxes_scale=1.5, skip_crowds=True)
    mask, box = ellipse("small")
    assert spans[0, 0] < box[0]
    assert iou(paste(targets(CentredMaskSampler(TARGET, 1), spans.numpy(), cut)[0], spans[0].numpy()), mask) > 0.9
    assert preprocess_ops.clip_or_pad_to_fixed_size(cut, 3, -1).shape == (3, CELLS, CELLS)
