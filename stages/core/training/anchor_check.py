"""How well the anchors fit the objects that a detector is to learn.

An object that no anchor overlaps well is learned through the one anchor that Model Garden forces on it: slowly, or not.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.detectors.anchors import level_anchors
from stages.core.detectors.ssd_anchors import SsdAnchorConfig

MIN_IOU = 0.5
"""Overlap from which an anchor counts as an object's: RetinaNet's threshold for positives (Lin et al., ICCV 2017)."""
MAX_MISSED = 0.02
SIZES = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
"""Values of `anchors.size` that are tried for the advice."""
MIN_SCALES = (0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3)
"""The same of `ssd_anchors.min_scale`."""
MOST_OBJECTS = 2000
CHUNK = 100


def check_anchors(task: Any, annotations: Path, section: str) -> str:
    """One line on what the anchors reach, with advice where they miss more than 2 % of the objects.

    Args:
      task: `task` of the experiment.
      annotations: Prepared COCO JSON of the training split.
      section: Where the anchors are set in params.yaml, e.g. `train.retinanet_mobiledet_cpu`.

    Returns:
      Empty for a split without objects.
    """
    config = task.model
    input_size = (int(config.input_size[0]), int(config.input_size[1]))
    boxes = read_boxes(annotations, input_size, resize=task.resize)
    if not len(boxes):
        return ""
    recall = anchor_recall(boxes, all_anchors(config, input_size))
    reached = f"anchors: {100 * recall:.1f} % of {len(boxes)} objects overlap one by IoU {MIN_IOU} or more"
    if 1 - recall <= MAX_MISSED:
        return reached
    is_ssd = isinstance(config.anchor, SsdAnchorConfig)
    name, values = ("min_scale", MIN_SCALES) if is_ssd else ("anchor_size", SIZES)
    parameter = f"{section}.{'ssd_anchors.min_scale' if is_ssd else 'anchors.size'}"
    recalls = {value: anchor_recall(boxes, all_anchors(config, input_size, **{name: value})) for value in values}
    best = max(recalls, key=lambda value: (round(recalls[value], 3), -abs(value - getattr(config.anchor, name))))
    if recalls[best] <= recall + 0.005:
        return f"warning: {reached}; no other {parameter} reaches more: a larger input_size may"
    return f"warning: {reached}; {parameter} {best:g} reaches {100 * recalls[best]:.1f} %"


def read_boxes(annotations: Path, input_size: tuple[int, int], *, resize: str) -> np.ndarray:
    """Objects without crowds, as the network sees them: float32 [N, 4], [y_min, x_min, y_max, x_max] in input pixels.

    Of a large split, evenly spaced objects. `resize` is `letterbox` or `stretch`, as in `TrainSettings`.
    """
    tree = json.loads(annotations.read_bytes())
    scales = {
        image["id"]: (input_size[0] / image["height"], input_size[1] / image["width"]) for image in tree["images"]
    }
    objects = [entry for entry in tree["annotations"] if not entry.get("iscrowd")]
    objects = objects[:: max(1, -(-len(objects) // MOST_OBJECTS))]
    factors = np.asarray([scales[entry["image_id"]] for entry in objects], np.float32).reshape(-1, 2)
    if resize == "letterbox":
        factors = np.repeat(factors.min(axis=1, keepdims=True), 2, axis=1)
    boxes = np.asarray([entry["bbox"] for entry in objects], np.float32).reshape(-1, 4)
    low, side = boxes[:, 1::-1] * factors, boxes[:, :1:-1] * factors
    return np.concatenate([low, low + side], axis=1)


def all_anchors(config: Any, input_size: tuple[int, int], **changes: float) -> np.ndarray:
    """Every anchor: float32 [A, 4], [y_min, x_min, y_max, x_max] in pixels.

    Args:
      config: `task.model` of the experiment.
      input_size: (height, width) in pixels.
      changes: To fields of `config.anchor`.
    """
    if changes:
        config = config.replace(anchor=replace(config.anchor, **changes))
    return np.concatenate(list(level_anchors(config, input_size).values()))


def anchor_recall(boxes: np.ndarray, anchors: np.ndarray) -> float:
    """Share of boxes [N, 4] that some anchor [A, 4] overlaps by IoU of at least 0.5; 0..1."""
    areas = np.prod(anchors[:, 2:] - anchors[:, :2], axis=1)
    reached = 0
    for start in range(0, len(boxes), CHUNK):
        some = boxes[start : start + CHUNK, None]
        sides = np.minimum(some[..., 2:], anchors[:, 2:]) - np.maximum(some[..., :2], anchors[:, :2])
        common = np.prod(np.maximum(sides, 0), axis=-1)
        union = np.prod(some[..., 2:] - some[..., :2], axis=-1) + areas - common
        reached += int((common >= MIN_IOU * union).any(axis=1).sum())
    return reached / len(boxes)
