"""The custom op that mobile libraries expect at the end of a one-stage detector.

`TFLite_Detection_PostProcess` has no TensorFlow kernel: the converter recognises a marked function and replaces it, and
the function's own body is never right.
Source: tensorflow/lite/kernels/detection_postprocess.cc.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.exporting.graph import PostProcessingSettings

OP_NAME = "TFLite_Detection_PostProcess"


def post_process(
    boxes: Any,
    scores: Any,
    anchors: np.ndarray,
    *,
    settings: PostProcessingSettings,
    box_weights: tuple[float, ...],
) -> dict[str, Any]:
    """Marks where the op goes. The values that TensorFlow computes here are zeros: only the converted file is right.

    Args:
      boxes: float32 [1, A, 4], encodings.
      scores: float32 [1, A, classes + 1], probabilities; the background column is skipped by the op.
      anchors: float32 [A, 4], (y_center, x_center, height, width) over the input's sides.
      settings: Post-processing.
      box_weights: What training multiplied (dy, dx, dh, dw) with.
    """
    attributes = {
        "max_detections": settings.max_detections,
        "max_classes_per_detection": 1,
        "detections_per_class": settings.max_detections,
        # The class-aware mode shares its work among threads wrongly: with two it loses half of the detections.
        "use_regular_nms": False,
        "nms_score_threshold": settings.score_threshold,
        "nms_iou_threshold": settings.nms_iou_threshold,
        "y_scale": box_weights[0],
        "x_scale": box_weights[1],
        "h_scale": box_weights[2],
        "w_scale": box_weights[3],
        "num_classes": scores.shape[-1] - 1,
    }
    marks = [f'name: "{OP_NAME}"', *(_mark_attribute(name, value) for name, value in attributes.items())]

    def placeholder(input_boxes: Any, input_scores: Any, input_anchors: Any) -> Any:
        del input_boxes, input_scores, input_anchors
        num = settings.max_detections
        return tf.zeros([1, num, 4]), tf.zeros([1, num]), tf.zeros([1, num]), tf.zeros([1])

    marked = tf.function(placeholder, experimental_implements=" ".join(marks), autograph=False)
    found, classes, best, num = marked(boxes, scores, tf.constant(anchors))
    return {
        "detection_boxes": found,
        "detection_classes": classes,
        "detection_scores": best,
        "num_detections": num,
    }


def _mark_attribute(name: str, value: bool | int | float) -> str:
    kinds = {bool: ("b", str(value).lower()), int: ("i", str(value)), float: ("f", f"{value:f}")}
    kind, text = kinds[type(value)]
    return f'attr {{ key: "{name}" value {{ {kind}: {text} }} }}'
