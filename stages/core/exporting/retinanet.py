"""RetinaNet (MobileDet) as one static graph: trained layers, then suppression.

The suppression comes in two forms: builtin ops, which every runtime has, and the op that mobile libraries expect.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.detectors.anchors import level_anchors
from stages.core.exporting.boxes import decode_boxes
from stages.core.exporting.detection_tensors import describe_nms, name_outputs, pick_detections
from stages.core.exporting.graph import (
    DeploymentGraph,
    PostProcessingSettings,
    detection_outputs,
    freeze,
    image_spec,
    normalize_pixels,
)
from stages.core.exporting.postprocess_op import post_process
from stages.core.results.interface import TensorOutput

RAW_BOXES, RAW_SCORES = "raw_boxes", "raw_scores"


def build_retinanet_graph(config: Any, model: Any, settings: PostProcessingSettings) -> DeploymentGraph:
    """The deployment graph of a trained `RetinaNetModel`, in both forms.

    Args:
      config: `task.model` of the experiment.
      model: The model with its weights.
      settings: Post-processing.
    """
    input_size = (int(config.input_size[0]), int(config.input_size[1]))
    levels = level_anchors(config, input_size)
    anchors = np.concatenate([levels[level] for level in sorted(levels, key=int)])
    box_weights = tuple(config.detection_generator.box_coder_weights or (1.0, 1.0, 1.0, 1.0))
    return assemble_graph(
        freeze(lambda image: _run_heads(config, model, image), image_spec(input_size)),
        anchors=anchors,
        box_weights=box_weights,
        num_classes=config.num_classes,
        input_size=input_size,
        most=config.detection_generator.pre_nms_top_k,
        settings=settings,
    )


def assemble_graph(
    raw_heads: Any,
    *,
    anchors: np.ndarray,
    box_weights: tuple[float, ...],
    num_classes: int,
    input_size: tuple[int, int],
    most: int,
    settings: PostProcessingSettings,
) -> DeploymentGraph:
    """What every one-stage detector becomes: its raw heads, then suppression in both forms.

    Args:
      raw_heads: Concrete function, image -> RAW_BOXES float32 [1, A, 4] and RAW_SCORES [1, A, C], 0..1.
      anchors: float32 [A, 4], [y_min, x_min, y_max, x_max] in pixels of the input.
      box_weights: What training multiplied (dy, dx, dh, dw) with.
      num_classes: C, the background in column 0 included.
      input_size: (height, width) in pixels.
      most: How many pairs of anchor and class are looked at.
      settings: Post-processing.
    """
    most = min(most, len(anchors) * (num_classes - 1))

    def detect(image: Any) -> dict[str, Any]:
        raw = raw_heads(image)
        with tf.name_scope("detect"):
            boxes, scores, classes = _choose_candidates(
                raw[RAW_BOXES][0], raw[RAW_SCORES][0], anchors, box_weights, most
            )
            found = pick_detections(boxes, scores, classes, input_size=input_size, settings=settings)
            return name_outputs(found, input_size)

    def deploy_with_op(image: Any) -> dict[str, Any]:
        raw = raw_heads(image)
        in_units = _anchors_for_op(anchors, input_size)
        return post_process(raw[RAW_BOXES], raw[RAW_SCORES], in_units, settings=settings, box_weights=box_weights)

    spec = image_spec(input_size)
    return DeploymentGraph(
        detect=tf.function(detect, autograph=False).get_concrete_function(spec),
        with_op=tf.function(deploy_with_op, autograph=False).get_concrete_function(spec),
        raw_heads=raw_heads,
        outputs=detection_outputs(settings.max_detections),
        raw_outputs=_raw_outputs(len(anchors), num_classes),
        class_offset=1,
        method=describe_nms(settings),
    )


def _run_heads(config: Any, model: Any, image: Any) -> dict[str, Any]:
    """Box encodings [1, A, 4] and class probabilities [1, A, C], levels one after the other.

    Boxes and scores are never joined: one shared quantization scale would drown the scores.
    """
    features = model.backbone(normalize_pixels(image), training=False)
    if model.decoder:
        features = model.decoder(features, training=False)
    logits, encodings, _ = model.head(features)
    levels = sorted(logits, key=int)
    with tf.name_scope("raw_heads"):
        scores = [tf.reshape(logits[level], [1, -1, config.num_classes]) for level in levels]
        boxes = [tf.reshape(encodings[level], [1, -1, 4]) for level in levels]
        return {RAW_BOXES: tf.concat(boxes, axis=1), RAW_SCORES: tf.sigmoid(tf.concat(scores, axis=1))}


def _choose_candidates(
    encoded: Any, scores: Any, anchors: np.ndarray, box_weights: tuple[float, ...], most: int
) -> tuple[Any, Any, Any]:
    """The best pairs of anchor and class, decoded (Model Garden: `pre_nms_top_k`).

    Args:
      encoded: float32 [A, 4]. scores: float32 [A, C], column 0 the background. anchors: float32 [A, 4] in pixels.
      most: How many pairs.

    Returns:
      float32 [most, 4] boxes in pixels, [most] scores, [most] classes from 0.
    """
    num_classes = scores.shape[1] - 1
    best, positions = tf.math.top_k(tf.reshape(scores[:, 1:], [-1]), k=most)
    # Exact in float below 2**24, and half a step away from the border where a quotient could round to the wrong side.
    owners = tf.floor((tf.cast(positions, tf.float32) + 0.5) * (1.0 / num_classes))
    classes = tf.cast(positions, tf.float32) - owners * num_classes
    rows = tf.cast(owners, tf.int32)
    boxes = decode_boxes(tf.gather(encoded, rows), tf.gather(tf.constant(anchors), rows), box_weights)
    return boxes, best, classes


def _anchors_for_op(anchors: np.ndarray, input_size: tuple[int, int]) -> np.ndarray:
    """Corners in pixels to (y_center, x_center, height, width) over the input's sides: float32 [A, 4]."""
    low, high = anchors[:, :2], anchors[:, 2:]
    scale = np.asarray([*input_size, *input_size], np.float32)
    return (np.concatenate([(low + high) / 2, high - low], axis=1) / scale).astype(np.float32)


def _raw_outputs(num_anchors: int, num_classes: int) -> tuple[TensorOutput, ...]:
    return (
        TensorOutput(
            name=RAW_BOXES,
            shape=(1, num_anchors, 4),
            dtype="float32",
            meaning="(dy, dx, dh, dw) relative to each anchor",
        ),
        TensorOutput(
            name=RAW_SCORES,
            shape=(1, num_anchors, num_classes),
            dtype="float32",
            meaning="probability 0..1 per class; column 0 is the background and not used",
        ),
    )
