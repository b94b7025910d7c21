"""Output tensors of a model, as its interface describes them, to `Detections` in pixels of the original image."""

from collections.abc import Mapping

import numpy as np

from stages.core.processing.detections import Detections
from stages.core.processing.preprocess import Placement
from stages.core.processing.reframing import frame_to_boxes, weigh_cells
from stages.core.results.interface import Interface


def outputs_to_detections(outputs: Mapping[str, np.ndarray], interface: Interface, placement: Placement) -> Detections:
    """Decodes `detection_boxes/scores/classes`, `num_detections` and, where the model has them, `detection_masks`.

    Args:
      outputs: By signature name; shapes [1, D, 4], [1, D], [1, D], [1] and [1, D, h, w], any of them without the batch;
        masks within their boxes (`settle_masks`).
      interface: Box format and class offset.
      placement: How the image lay in the input tensor.

    Returns:
      The first `num_detections` rows with a positive score, a box of positive area inside the image and a class that is
      a category, best first.
    """
    boxes = to_yxyx(np.asarray(outputs["detection_boxes"], np.float32).reshape(-1, 4), interface)
    num = count_detections(outputs["num_detections"], limit=len(boxes))
    boxes = boxes[:num]
    scores = np.asarray(outputs["detection_scores"], np.float32).reshape(-1)[:num]
    classes = np.rint(np.asarray(outputs["detection_classes"]).reshape(-1)[:num]).astype(np.int32)
    classes = classes_to_categories(classes, interface)
    masks = None
    if interface.has_masks:
        raw = np.asarray(outputs["detection_masks"])
        masks = raw.reshape(-1, *raw.shape[-2:])[:num].astype(np.float32)

    unclipped = boxes_to_pixels(boxes, placement)
    boxes_xyxy = clip_boxes(unclipped, placement.image_size)
    width, height = boxes_xyxy[:, 2] - boxes_xyxy[:, 0], boxes_xyxy[:, 3] - boxes_xyxy[:, 1]
    keep = np.isfinite(unclipped).all(axis=1) & (scores > 0) & (width > 0) & (height > 0) & (classes > 0)
    order = np.flatnonzero(keep)[np.argsort(-scores[keep], kind="stable")]
    return Detections(
        boxes_xyxy=boxes_xyxy[order],
        scores=scores[order],
        classes=classes[order],
        masks=None if masks is None else crop_masks(masks[order], unclipped[order], boxes_xyxy[order]),
        image_size=placement.image_size,
    )


def to_yxyx(boxes: np.ndarray, interface: Interface) -> np.ndarray:
    """Boxes [N, 4] in the file's format to [y_min, x_min, y_max, x_max] over the input tensor's sides."""
    order, _, unit = interface.box_format.partition("_")
    if order == "xyxy":
        boxes = boxes[:, [1, 0, 3, 2]]
    if unit == "pixels":
        boxes = boxes / np.asarray([*interface.input.size] * 2, np.float32)
    return boxes


def settle_masks(outputs: Mapping[str, np.ndarray], interface: Interface) -> dict[str, np.ndarray]:
    """A model's outputs with masks within their boxes, whatever they span in the file; rows that are not filled are 0.

    Args:
      outputs: By signature name, with the batch dimension.
      interface: The file's contract.
    """
    if not interface.has_masks or interface.mask_frame == "box":
        return dict(outputs)
    boxes = to_yxyx(np.asarray(outputs["detection_boxes"], np.float32).reshape(-1, 4), interface)
    boxes[count_detections(outputs["num_detections"], limit=len(boxes)) :] = 0
    return dict(outputs) | {"detection_masks": frame_to_boxes(outputs["detection_masks"][0], boxes)[np.newaxis]}


def classes_to_categories(classes: np.ndarray, interface: Interface) -> np.ndarray:
    """Values of `detection_classes` to category ids: int32 [N]; 0 where a class is no category."""
    if not interface.class_map:
        return classes + interface.class_offset
    known = (classes >= 0) & (classes < len(interface.class_map))
    categories = np.asarray(interface.class_map, np.int32)[np.where(known, classes, 0)]
    return np.where(known, categories, 0)


def count_detections(num_detections: np.ndarray, *, limit: int) -> int:
    """How many rows the graph filled: what is behind them is uninitialised memory. NaN counts as none."""
    value = float(np.asarray(num_detections).reshape(-1)[0])
    return int(min(max(value, 0), limit)) if np.isfinite(value) else 0


def drop_unused_rows(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of one image without the batch dimension; rows behind `num_detections` are zero.

    A runtime leaves uninitialised memory there, and a file that is written from it would differ from run to run.
    """
    num = count_detections(outputs["num_detections"], limit=outputs["detection_scores"].shape[1])
    kept = {name: array[0].copy() for name, array in outputs.items()}
    for name, array in kept.items():
        if name != "num_detections":
            array[num:] = 0
    return kept


def boxes_to_pixels(boxes_yxyx: np.ndarray, placement: Placement) -> np.ndarray:
    """Boxes normalised by the input tensor's sides to pixels of the original image.

    Args:
      boxes_yxyx: float32 [N, 4], [y_min, x_min, y_max, x_max].

    Returns:
      float32 [N, 4], [x_min, y_min, x_max, y_max]; may reach out of the image, e.g. into the input's padding.
    """
    (height, width), (resized_h, resized_w) = placement.image_size, placement.resized
    input_h, input_w = placement.input_size
    to_y, to_x = input_h * height / resized_h, input_w * width / resized_w
    boxes_xyxy: np.ndarray = boxes_yxyx[:, [1, 0, 3, 2]] * np.asarray([to_x, to_y, to_x, to_y], np.float32)
    return boxes_xyxy


def clip_boxes(boxes_xyxy: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """The part of each box inside an image of (height, width): float32 [N, 4]."""
    height, width = image_size
    clipped: np.ndarray = np.clip(boxes_xyxy, 0, np.asarray([width, height, width, height], np.float32))
    return clipped.astype(np.float32, copy=False)


def crop_masks(masks: np.ndarray, boxes_xyxy: np.ndarray, cropped_xyxy: np.ndarray) -> np.ndarray:
    """Masks of boxes to masks of parts of those boxes, where box and part differ.

    A mask spans its whole box: without this, the mask of a box that was clipped would be squeezed into what is left.

    Args:
      masks: float32 [N, h, w], probabilities within `boxes_xyxy`.
      boxes_xyxy, cropped_xyxy: [N, 4]; each cropped box is within its box and has a positive area.

    Returns:
      float32 [N, h, w], probabilities within `cropped_xyxy`, bilinear between the centres of the old cells.
    """
    masks = masks.copy()
    for index in np.flatnonzero((boxes_xyxy != cropped_xyxy).any(axis=1)):
        x_min, y_min, x_max, y_max = boxes_xyxy[index]
        left, top, right, bottom = cropped_xyxy[index]
        rows = _part_weights(y_min, y_max, top, bottom, masks.shape[1])
        columns = _part_weights(x_min, x_max, left, right, masks.shape[2])
        masks[index] = rows @ masks[index] @ columns.T
    return masks


def _part_weights(low: float, high: float, start: float, end: float, num: int) -> np.ndarray:
    """`weigh_cells` from the cells of low..high to as many over start..end."""
    return weigh_cells((start - low) / (high - low), (end - low) / (high - low), num, num)
