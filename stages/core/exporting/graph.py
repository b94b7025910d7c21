"""What a deployment graph is: one static function from pixels to detections, and what a caller must know of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from official.vision.ops import anchor, preprocess_ops
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from stages.core.interface import TensorOutput

INPUT_NAME = "image"

MEAN_RGB: tuple[float, ...] = tuple(preprocess_ops.MEAN_RGB)
STDDEV_RGB: tuple[float, ...] = tuple(preprocess_ops.STDDEV_RGB)


@dataclass(frozen=True, kw_only=True)
class PostProcessingSettings:
    """Flat view of `export` in params.yaml.

    Attributes:
      max_detections: Rows in each output.
      score_threshold: Detections at or below are dropped, 0..1.
      nms_iou_threshold: Overlap at which the weaker of two boxes is suppressed, 0..1.
      num_proposals: Mask R-CNN: regions that the box head looks at.
    """

    max_detections: int
    score_threshold: float
    nms_iou_threshold: float
    num_proposals: int


@dataclass(frozen=True, kw_only=True, eq=False)
class DeploymentGraph:
    """A trained model as static TensorFlow functions with constant weights.

    Attributes:
      deployed: image [1, H, W, 3] float32 -> output name to tensor; what is converted to .tflite.
      signatures: SavedModel signature to concrete function; only functions that TensorFlow itself computes rightly.
      outputs, raw_outputs: The tensors, as `Interface` describes them.
      class_offset: Add it to a class to get a category id.
      method: One line on the post-processing.
      run_reference: One image [1, H, W, 3] float32 -> (outputs, raw outputs) of the float model under the graph's own
        post-processing, each array with the batch dimension.
    """

    deployed: Any
    signatures: Mapping[str, Any]
    outputs: tuple[TensorOutput, ...]
    raw_outputs: tuple[TensorOutput, ...]
    class_offset: int
    method: str
    run_reference: Callable[[np.ndarray], tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]


def image_spec(input_size: tuple[int, int]) -> Any:
    """The graph's only input: float32 [1, height, width, 3], RGB, 0..255."""
    return tf.TensorSpec([1, *input_size, 3], tf.float32, name=INPUT_NAME)


def normalize_pixels(image: Any) -> Any:
    """(pixel - mean) / deviation per channel, with the constants that Model Garden trains with."""
    with tf.name_scope("normalize"):
        return (image - tf.constant(MEAN_RGB)) * tf.constant([1.0 / deviation for deviation in STDDEV_RGB])


def padding_color() -> tuple[int, int, int]:
    """RGB of padding that is about zero after normalisation."""
    red, green, blue = (round(value) for value in MEAN_RGB)
    return red, green, blue


def freeze(function: Callable[[Any], dict[str, Any]], spec: Any) -> Any:
    """Traces a function of one tensor and turns its variables into constants.

    No Keras object travels into the SavedModel, and every runtime's converter sees plain constants.
    """
    traced = tf.function(function, autograph=False).get_concrete_function(spec)
    constant = convert_variables_to_constants_v2(traced)
    # Freezing drops the names; TensorFlow flattens dictionaries in key order.
    names = sorted(traced.structured_outputs)

    def named(image: Any) -> dict[str, Any]:
        return dict(zip(names, tf.nest.flatten(constant(image)), strict=True))

    return tf.function(named, autograph=False).get_concrete_function(spec)


def level_anchors(config: Any, input_size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Anchor boxes per pyramid level: float32 [cells * anchors, 4], [y_min, x_min, y_max, x_max] in input pixels.

    Args:
      config: `task.model` of the experiment.
      input_size: (height, width) in pixels.
    """
    boxes = anchor.Anchor(
        min_level=config.min_level,
        max_level=config.max_level,
        num_scales=config.anchor.num_scales,
        aspect_ratios=config.anchor.aspect_ratios,
        anchor_size=config.anchor.anchor_size,
        image_size=input_size,
    ).multilevel_boxes
    return {level: np.asarray(value, np.float32).reshape(-1, 4) for level, value in boxes.items()}


def detection_outputs(max_detections: int) -> tuple[TensorOutput, ...]:
    """The four outputs that every detector has, named as TensorFlow's detection APIs name them."""
    return (
        TensorOutput(
            name="detection_boxes",
            shape=(1, max_detections, 4),
            dtype="float32",
            meaning="[y_min, x_min, y_max, x_max] over the input tensor's height and width; best score first",
        ),
        TensorOutput(name="detection_scores", shape=(1, max_detections), dtype="float32", meaning="0..1, descending"),
        TensorOutput(
            name="detection_classes",
            shape=(1, max_detections),
            dtype="float32",
            meaning="class index from 0; add class_offset to get a category id of labels",
        ),
        TensorOutput(
            name="num_detections",
            shape=(1,),
            dtype="float32",
            meaning="how many rows are detections; the rows after them mean nothing",
        ),
    )
