"""RetinaNet (MobileDet) as one static graph: trained layers, then the op that mobile libraries expect."""

from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.exporting.graph import (
    DeploymentGraph,
    PostProcessingSettings,
    detection_outputs,
    freeze,
    image_spec,
    level_anchors,
    normalize_pixels,
)
from stages.core.exporting.post_processing import OP_NAME, PostProcessor, post_process
from stages.core.interface import TensorOutput

METHOD = f"{OP_NAME} (fast, class-agnostic NMS)"
RAW_BOXES, RAW_SCORES = "raw_boxes", "raw_scores"
RAW_SIGNATURE = "raw_heads"


def build_retinanet_graph(config: Any, model: Any, settings: PostProcessingSettings) -> DeploymentGraph:
    """The deployment graph of a trained `RetinaNetModel`.

    The SavedModel gets the raw heads only: TensorFlow has no kernel for the post-processing op.

    Args:
      config: `task.model` of the experiment.
      model: The model with its weights.
      settings: Post-processing.
    """
    input_size = (int(config.input_size[0]), int(config.input_size[1]))
    anchors = _anchors_for_op(level_anchors(config, input_size), input_size)
    box_weights = tuple(config.detection_generator.box_coder_weights or (1.0, 1.0, 1.0, 1.0))
    raw_heads = freeze(lambda image: _run_heads(config, model, image), image_spec(input_size))

    def deploy(image: Any) -> dict[str, Any]:
        raw = raw_heads(image)
        return post_process(raw[RAW_BOXES], raw[RAW_SCORES], anchors, settings=settings, box_weights=box_weights)

    processor = PostProcessor(anchors, config.num_classes, settings, box_weights)

    def run_reference(image: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        raw = {name: value.numpy() for name, value in raw_heads(tf.constant(image)).items()}
        return processor(raw[RAW_BOXES], raw[RAW_SCORES]), raw

    return DeploymentGraph(
        deployed=tf.function(deploy, autograph=False).get_concrete_function(image_spec(input_size)),
        signatures={RAW_SIGNATURE: raw_heads},
        outputs=detection_outputs(settings.max_detections),
        raw_outputs=_raw_outputs(len(anchors), config.num_classes),
        class_offset=1,
        method=METHOD,
        run_reference=run_reference,
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


def _anchors_for_op(anchors: dict[str, np.ndarray], input_size: tuple[int, int]) -> np.ndarray:
    """Corners in pixels to (y_center, x_center, height, width) over the input's sides, all levels: float32 [A, 4]."""
    corners = np.concatenate([anchors[level] for level in sorted(anchors, key=int)])
    low, high = corners[:, :2], corners[:, 2:]
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
