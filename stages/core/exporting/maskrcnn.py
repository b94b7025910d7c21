"""Mask R-CNN as one static graph of builtin ops, around the trained layers.

Model Garden's own export makes while loops out of its suppression, which int8 calibration and other runtimes do not
survive. Here only the wiring between the trained layers is new; each step names the Model Garden code that it equals.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import ArtifactError
from stages.core.detectors.anchors import level_anchors
from stages.core.exporting.boxes import clip_to_input, decode_boxes, suppress_overlaps
from stages.core.exporting.detection_tensors import Found, describe_nms, name_outputs, pick_detections
from stages.core.exporting.graph import (
    DeploymentGraph,
    PostProcessingSettings,
    detection_outputs,
    freeze,
    image_spec,
    normalize_pixels,
)
from stages.core.exporting.roi_align import PyramidTable, align_regions
from stages.core.quantizing.model import output_range
from stages.core.results.interface import TensorOutput

LOWEST = float(np.finfo(np.float32).min)


def build_maskrcnn_graph(config: Any, model: Any, settings: PostProcessingSettings) -> DeploymentGraph:
    """The deployment graph of a trained `MaskRCNNModel`.

    Args:
      config: `task.model` of the experiment.
      model: The model with its weights.
      settings: Post-processing.

    Raises:
      ArtifactError: if the model is a variant that this graph does not cover (cascade, outer boxes, no masks).
    """
    _check_supported(config)
    input_size = (int(config.input_size[0]), int(config.input_size[1]))
    anchors = level_anchors(config, input_size)
    value_range = output_range(model.decoder or model.backbone)

    def detect(image: Any) -> dict[str, Any]:
        features = _extract_features(model, normalize_pixels(image, config.pixels))
        table = PyramidTable(features, value_range)
        regions = _propose_regions(config, model, features, anchors, input_size, settings)
        found = _classify_regions(config, model, table, regions, input_size, settings)
        masks = _predict_masks(config, model, table, found)
        return {**name_outputs(found, input_size), "detection_masks": tf.expand_dims(masks, 0)}

    frozen = freeze(detect, image_spec(input_size))
    mask_side = config.mask_roi_aligner.crop_size * config.mask_head.upsample_factor
    masks = TensorOutput(
        name="detection_masks",
        shape=(1, settings.max_detections, mask_side, mask_side),
        dtype="float32",
        meaning="probability 0..1 that a cell of the box is the object; resize to the box to paste it",
    )

    return DeploymentGraph(
        detect=frozen,
        outputs=(*detection_outputs(settings.max_detections), masks),
        class_offset=1,
        method=f"{describe_nms(settings)}, then masks of the remaining detections' own class",
    )


def _check_supported(config: Any) -> None:
    unsupported = {
        "include_mask: false": not config.include_mask,
        "outer_boxes_scale other than 1": config.outer_boxes_scale != 1.0,
        "cascade heads": bool(config.roi_sampler.cascade_iou_thresholds),
    }
    for what, present in unsupported.items():
        if present:
            raise ArtifactError(f"Mask R-CNN with {what} has no deployment graph; train it without")


def _extract_features(model: Any, image: Any) -> Mapping[str, Any]:
    features = model.backbone(image, training=False)
    pyramid: Mapping[str, Any] = model.decoder(features, training=False) if model.decoder else features
    return pyramid


def _propose_regions(
    config: Any,
    model: Any,
    features: Mapping[str, Any],
    anchors: Mapping[str, np.ndarray],
    input_size: tuple[int, int],
    settings: PostProcessingSettings,
) -> Any:
    """The region proposal network: float32 [P, 4] in pixels (Model Garden: `_multilevel_propose_rois`).

    Decoding only each level's best candidates equals decoding all of them, because suppression sees no others. Scores
    stay logits: their order is that of the probabilities.
    """
    own = settings.proposal_nms_iou_threshold
    logits, encodings = model.rpn_head(features)
    scores, encoded, priors, groups = [], [], [], []
    with tf.name_scope("propose_regions"):
        for group, level in enumerate(sorted(logits, key=int)):
            level_anchor = anchors[level]
            num = min(len(level_anchor), settings.proposal_pre_nms_top_k or config.roi_generator.test_pre_nms_top_k)
            best, indices = tf.math.top_k(tf.reshape(logits[level], [-1]), k=num)
            scores.append(best)
            encoded.append(tf.gather(tf.reshape(encodings[level], [-1, 4]), indices))
            priors.append(tf.gather(tf.constant(level_anchor), indices))
            groups.append(np.full(num, group, np.float32))
        boxes = clip_to_input(decode_boxes(tf.concat(encoded, 0), tf.concat(priors, 0)), input_size)
        indices, _ = suppress_overlaps(
            boxes,
            tf.concat(scores, 0),
            tf.constant(np.concatenate(groups)),
            input_size=input_size,
            max_outputs=min(settings.num_proposals or config.roi_generator.test_num_proposals, boxes.shape[0]),
            iou_threshold=config.roi_generator.test_nms_iou_threshold if own is None else own,
            score_threshold=LOWEST,
        )
        return tf.gather(boxes, indices)


def _classify_regions(
    config: Any,
    model: Any,
    table: PyramidTable,
    regions: Any,
    input_size: tuple[int, int],
    settings: PostProcessingSettings,
) -> Found:
    """Box head, per-class decoding and class-aware suppression (Model Garden: `DetectionGenerator`, NMS v2)."""
    num_regions, num_classes = regions.shape[0], config.num_classes - 1
    crops = _align(table, regions, config.roi_aligner)
    logits, encoded = model.detection_head[0](tf.expand_dims(crops, 0), training=False)
    with tf.name_scope("classify_regions"):
        activate = tf.sigmoid if config.detection_generator.use_sigmoid_probability else tf.nn.softmax
        scores = tf.reshape(activate(logits[0])[:, 1:], [-1])
        encoded = tf.reshape(encoded, [num_regions, -1, 4])
        repeats = 1 if config.detection_head.class_agnostic_bbox_pred else num_classes
        encoded = tf.reshape(encoded[:, -repeats:], [-1, 4])
        priors = tf.reshape(tf.tile(regions, [1, repeats]), [-1, 4])
        weights = tuple(model._cascade_layer_to_weights[0])
        boxes = clip_to_input(decode_boxes(encoded, priors, weights), input_size)
        if repeats != num_classes:
            boxes = tf.reshape(tf.tile(boxes, [1, num_classes]), [-1, 4])
        classes = tf.constant(np.tile(np.arange(num_classes, dtype=np.float32), num_regions))
        return pick_detections(boxes, scores, classes, input_size=input_size, settings=settings)


def _align(table: PyramidTable, boxes: Any, aligner: Any) -> Any:
    return align_regions(
        table,
        boxes,
        crop_size=aligner.crop_size,
        sample_offset=aligner.sample_offset,
        sampling_ratio=aligner.sampling_ratio,
    )


def _predict_masks(config: Any, model: Any, table: PyramidTable, found: Found) -> Any:
    """Mask head on the detections only: float32 [D, side, side], 0..1 (Model Garden: `MaskHead`)."""
    values, head = _align(table, found.boxes, config.mask_roi_aligner), model.mask_head
    # The head's own call() ends in a batched gather, so its layers are called one by one.
    for convolution, norm in zip(head._convs, head._conv_norms, strict=True):
        values = head._activation(norm(convolution(values), training=False))
    values = head._activation(head._deconv_bn(head._deconv(values), training=False))
    logits = head._mask_regressor(values)
    with tf.name_scope("predict_masks"):
        num, side, channels = logits.shape[0], logits.shape[1], logits.shape[3]
        if config.mask_head.class_agnostic:
            chosen = tf.reshape(logits, [num, side * side])
        else:
            cells = tf.constant(np.arange(num * side * side, dtype=np.float32).reshape(num, -1) * channels)
            # Channel 0 is the background.
            picked = tf.cast(cells + (tf.reshape(found.classes, [num, 1]) + 1.0), tf.int32)
            chosen = tf.gather(tf.reshape(logits, [-1]), picked)
        masks = tf.sigmoid(chosen) * tf.reshape(found.valid, [num, 1])
        return tf.reshape(masks, [num, side, side])
