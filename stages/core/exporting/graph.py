"""What a deployment graph is: one static function from pixels to detections, and what a caller must know of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from stages.core.results.interface import RAW_SIGNATURE, SIGNATURE, TensorOutput

INPUT_NAME = "image"


@dataclass(frozen=True, kw_only=True)
class PostProcessingSettings:
    """Flat view of `export` in params.yaml.

    Attributes:
      max_detections: Rows in each output.
      score_threshold: Detections at or below are dropped, 0..1.
      nms_iou_threshold: Overlap at which the weaker of two boxes is suppressed, 0..1.
      num_proposals: Mask R-CNN: regions that the box head looks at; None: as many as in training's evaluations.
      proposal_nms_iou_threshold: Overlap at which the weaker of two regions is left out; None: the model's.
      proposal_pre_nms_top_k: How many candidates of each pyramid level suppression of regions looks at, best first;
        None: twice as many as regions in training's evaluations.
      pre_nms_top_k: How many candidates (a box and one of its classes) suppression looks at, best first.
      class_agnostic_nms: Whether a box also suppresses weaker ones of other classes.
      resize: How images become the input: letterbox, stretch or as_trained.
    """

    max_detections: int
    score_threshold: float
    nms_iou_threshold: float
    pre_nms_top_k: int
    class_agnostic_nms: bool
    num_proposals: int | None = None
    proposal_nms_iou_threshold: float | None = None
    proposal_pre_nms_top_k: int | None = None
    resize: str = "as_trained"


@dataclass(frozen=True, kw_only=True, eq=False)
class DeploymentGraph:
    """A trained model as static TensorFlow functions with constant weights.

    Attributes:
      detect: image [1, H, W, 3] float32 -> output name to tensor, in builtin ops only: TensorFlow, LiteRT and OpenVINO
        all compute it. It is the SavedModel's only signature but for the raw heads, and the float reference.
      with_op: The same layers before the post-processing op that mobile libraries look for; None where it does not fit.
        TensorFlow cannot compute it.
      raw_heads: image -> head outputs before post-processing; None where the graph has none.
      outputs, raw_outputs: The tensors, as `Interface` describes them.
      class_offset: Add it to a class to get a category id.
      method: One line on the post-processing.
    """

    detect: Any
    with_op: Any | None = None
    raw_heads: Any | None = None
    outputs: tuple[TensorOutput, ...]
    raw_outputs: tuple[TensorOutput, ...] = ()
    class_offset: int
    method: str

    @property
    def signatures(self) -> dict[str, Any]:
        """SavedModel signature to concrete function: only functions that TensorFlow itself computes rightly."""
        raw = {} if self.raw_heads is None else {RAW_SIGNATURE: self.raw_heads}
        return {SIGNATURE: self.detect, **raw}


def image_spec(input_size: tuple[int, int]) -> Any:
    """The graph's only input: float32 [1, height, width, 3], RGB, 0..255."""
    return tf.TensorSpec([1, *input_size, 3], tf.float32, name=INPUT_NAME)


def normalize_pixels(image: Any, pixels: Any) -> Any:
    """(pixel - mean) / deviation per channel, as in training.

    Args:
      image: float32 [1, height, width, 3], 0..255.
      pixels: `task.model.pixels` of the experiment.
    """
    with tf.name_scope("normalize"):
        factors = [1.0 / deviation for deviation in pixels.deviation]
        return (image - tf.constant(pixels.mean, tf.float32)) * tf.constant(factors, tf.float32)


def padding_color(pixels: Any) -> tuple[int, int, int]:
    """RGB of padding that is about zero after normalisation. `pixels` is as in `normalize_pixels`."""
    red, green, blue = (round(value) for value in pixels.mean)
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
