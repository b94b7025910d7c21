"""Output tensors of a model, as its interface describes them, to `Detections` in pixels of the original image."""

from collections.abc import Mapping

import numpy as np

from stages.core.detections import Detections
from stages.core.interface import Interface
from stages.core.running.preprocess import Placement


def outputs_to_detections(outputs: Mapping[str, np.ndarray], interface: Interface, placement: Placement) -> Detections:
    """Decodes `detection_boxes/scores/classes`, `num_detections` and, where the model has them, `detection_masks`.

    Args:
      outputs: By signature name; shapes [1, D, 4], [1, D], [1, D], [1] and [1, D, h, w], any of them without the batch.
      interface: Box format and class offset.
      placement: How the image lay in the input tensor.

    Returns:
      The first `num_detections` rows with a positive score and a box of positive area inside the image, best first.
    """
    num = int(np.asarray(outputs["num_detections"]).reshape(-1)[0])
    boxes = np.asarray(outputs["detection_boxes"], np.float32).reshape(-1, 4)[:num]
    scores = np.asarray(outputs["detection_scores"], np.float32).reshape(-1)[:num]
    classes = np.rint(np.asarray(outputs["detection_classes"]).reshape(-1)[:num]).astype(np.int32)
    classes = classes + interface.class_offset
    masks = None
    if interface.has_masks:
        raw = np.asarray(outputs["detection_masks"])
        masks = raw.reshape(-1, *raw.shape[-2:])[:num].astype(np.float32)

    boxes_xyxy = boxes_to_pixels(boxes, placement)
    width, height = boxes_xyxy[:, 2] - boxes_xyxy[:, 0], boxes_xyxy[:, 3] - boxes_xyxy[:, 1]
    keep = np.isfinite(boxes_xyxy).all(axis=1) & (scores > 0) & (width > 0) & (height > 0)
    order = np.flatnonzero(keep)[np.argsort(-scores[keep], kind="stable")]
    return Detections(
        boxes_xyxy=boxes_xyxy[order],
        scores=scores[order],
        classes=classes[order],
        masks=None if masks is None else masks[order],
        image_size=placement.image_size,
    )


def boxes_to_pixels(boxes_yxyx: np.ndarray, placement: Placement) -> np.ndarray:
    """Boxes normalised by the input tensor's sides to pixels of the original image, clipped to it.

    Args:
      boxes_yxyx: float32 [N, 4], [y_min, x_min, y_max, x_max].

    Returns:
      float32 [N, 4], [x_min, y_min, x_max, y_max].
    """
    (height, width), (resized_h, resized_w) = placement.image_size, placement.resized
    input_h, input_w = placement.input_size
    to_y, to_x = input_h * height / resized_h, input_w * width / resized_w
    boxes = boxes_yxyx[:, [1, 0, 3, 2]] * np.asarray([to_x, to_y, to_x, to_y], np.float32)
    return np.clip(boxes, 0, np.asarray([width, height, width, height], np.float32)).astype(np.float32)
