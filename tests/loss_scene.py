"""Small batches for the tests of losses: anchors as Model Garden lays them out, objects, and what a head might say."""

from typing import Any

import numpy as np
import tensorflow as tf
from official.vision.ops import anchor

from stages.core.training.losses.assigners import ASSIGNERS
from stages.core.training.losses.labeler import TargetLabeler

SIZE = 64
NUM_CLASSES = 4
PER_CELL = 9


def anchors_of(size: int = SIZE, max_level: int = 4) -> Any:
    """Per level float32 [h, w, 9 * 4], from stride 8 on."""
    return anchor.Anchor(3, max_level, 3, [0.5, 1.0, 2.0], 2.0, (size, size)).multilevel_boxes


def flatten(levels: Any) -> tf.Tensor:
    return tf.concat([tf.reshape(level, [-1, 4]) for level in levels.values()], axis=0)


def random_boxes(rng: np.random.Generator, count: int, size: int = SIZE) -> np.ndarray:
    """float32 [count, 4] inside the image, with sides of 4 pixels or more."""
    low = rng.uniform(0, size - 5, (count, 2))
    high = low + rng.uniform(4, size / 2, (count, 2))
    return np.concatenate([low, np.minimum(high, size)], axis=1).astype(np.float32)


def make_labels(
    images: list[tuple[Any, Any]], assigner: str = "iou", coder_weights: tuple[float, ...] | None = None
) -> dict[str, Any]:
    """A batch of labels as the parser makes them, of (boxes [N, 4], classes [N]) per image; with padded objects."""
    row = ASSIGNERS["iou" if ASSIGNERS[assigner].needs_predictions else assigner]
    labeler = TargetLabeler(assign=row.function, box_coder_weights=coder_weights)
    anchors = anchors_of()
    entries = []
    for boxes, classes in images:
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        classes = np.asarray(classes, np.int64).reshape(-1, 1)
        found = labeler.label_anchors(anchors, tf.constant(boxes), tf.constant(classes))
        entries.append(
            {
                "cls_targets": dict(found[0]),
                "box_targets": dict(found[1]),
                "anchor_boxes": dict(anchors),
                "cls_weights": found[3],
                "box_weights": found[4],
                "gt_boxes": tf.constant(np.pad(boxes, [(0, 9 - len(boxes)), (0, 0)], constant_values=-1)),
                "gt_classes": tf.constant(np.pad(classes[:, 0], [(0, 9 - len(boxes))], constant_values=-1)),
            }
        )
    labels: dict[str, Any] = tf.nest.map_structure(lambda *values: tf.stack(values), *entries)
    return labels


def make_outputs(
    batch: int, rng: np.random.Generator | None = None, *, logit: float = -4.0, scale: float = 1.0
) -> dict[str, Any]:
    """Per level what the heads say: noise, or the anchors themselves with low scores."""
    outputs: dict[str, Any] = {"cls_outputs": {}, "box_outputs": {}}
    for level, boxes in anchors_of().items():
        height, width, numbers = boxes.shape
        for name, depth, start in (
            ("cls_outputs", numbers // 4 * NUM_CLASSES, logit),
            ("box_outputs", numbers, 0.0),
        ):
            values = np.full((batch, height, width, depth), start, np.float32)
            if rng is not None:
                values += rng.normal(0, scale, values.shape).astype(np.float32)
            outputs[name][level] = tf.constant(values)
    return outputs
