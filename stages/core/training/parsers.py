"""From a decoded, augmented sample to an image and training targets: Model Garden's parsers, with assigners by name."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
from official.vision.dataloaders import maskrcnn_input, retinanet_input
from official.vision.ops import box_ops, preprocess_ops

from stages.core.detectors.ssd_anchors import SsdAnchorConfig
from stages.core.training.augmenting.flips import flip_vertically
from stages.core.training.augmenting.sample import BOXES, IS_CROWD, Sample, frame_of
from stages.core.training.losses.assigners import ASSIGNERS, assign_by_iou, assign_nothing
from stages.core.training.losses.labeler import TargetLabeler, ignore_crowds, ignore_crowds_in_proposals
from stages.core.training.losses.roi_sampling import CROWD, PADDING
from stages.core.training.mask_targets import cut_masks
from stages.core.training.tracing import anchor_generator

Parse = Callable[[Sample], tuple[tf.Tensor, dict[str, Any]]]


@dataclass
class _Witness:
    """A labeler that remembers the objects of the image as the network sees them.

    Model Garden's parser scales and crops boxes and then keeps them to itself.
    """

    labeler: Any
    boxes: list[tf.Tensor] = field(default_factory=list)
    classes: list[tf.Tensor] = field(default_factory=list)

    def label_anchors(self, anchor_boxes: Any, gt_boxes: tf.Tensor, gt_labels: tf.Tensor, *rest: Any) -> Any:
        """Targets by the labeler within."""
        self.boxes.append(gt_boxes)
        self.classes.append(gt_labels)
        return self.labeler.label_anchors(anchor_boxes, gt_boxes, gt_labels, *rest)


def retinanet_parser(config: Any, params: Any) -> Parse:
    """Parser of training samples for a one-stage detector. Anchors in crowds are ignored, as the evaluation does.

    Horizontal flips are left to the augmentation before it: what flips here moves objects only, not crowds.

    Args:
      config: `RetinaNetTraining` or `SSDLiteTraining`.
      params: Its `train_data`.
    """
    model, settings = config.model, params.parser
    weights = model.detection_generator.box_coder_weights
    parser = retinanet_input.Parser(
        **_shared_arguments(config, params),
        box_coder_weights=weights,
        aug_rand_jpeg=settings.aug_rand_jpeg,
        pad=settings.pad,
        keep_aspect_ratio=settings.keep_aspect_ratio,
    )
    row = ASSIGNERS[config.methods.assigner]
    # None: a pyramid, which the parser lays itself.
    lay_anchors = anchor_generator(model) if isinstance(model.anchor, SsdAnchorConfig) else None
    labeler = TargetLabeler(assign=_assign_in_pipeline(config, settings), box_coder_weights=weights)
    most = settings.max_num_instances

    def parse(sample: Sample) -> tuple[tf.Tensor, dict[str, Any]]:
        witness = _Witness(labeler)
        image, labels = parser._parse_train_data(sample, anchor_labeler=witness, input_anchor=lay_anchors)
        anchors = tf.concat([tf.reshape(level, [-1, 4]) for level in labels["anchor_boxes"].values()], axis=0)
        crowds = _crowds_in_input(sample, labels["image_info"])
        labels["cls_weights"] = ignore_crowds(anchors, labels["cls_weights"], labels["box_weights"], crowds)
        if row.needs_predictions:
            (boxes,), (classes,) = witness.boxes, witness.classes
            labels["gt_boxes"] = preprocess_ops.clip_or_pad_to_fixed_size(boxes, most, PADDING)
            padded = preprocess_ops.clip_or_pad_to_fixed_size(classes, most, PADDING)
            labels["gt_classes"] = padded[:, 0]
        return image, labels

    return parse


def _assign_in_pipeline(config: Any, settings: Any) -> Callable[..., tf.Tensor]:
    """What assigns anchors before the model has predicted anything; nothing, if the assigner needs predictions."""
    name = config.methods.assigner
    if ASSIGNERS[name].needs_predictions:
        return assign_nothing
    if name == "iou":  # the only one with parameters of Model Garden's
        thresholds = {"positive_iou": settings.match_threshold, "negative_iou": settings.unmatched_threshold}
        return functools.partial(assign_by_iou, **thresholds)
    return ASSIGNERS[name].function


def maskrcnn_parser(config: Any, params: Any) -> Parse:
    """Parser of training samples for a Mask R-CNN. Anchors and regions in crowds are ignored, as the evaluation does.

    Crowds follow the objects in `gt_boxes`, with `CROWD` as their class: see `CrowdAwareSampler`. As above, flips are
    left to the augmentation; Model Garden's vertical ones (by `overrides` alone) come before its parser, so that they
    move masks and crowds too. Masks are cut by `cut_masks`.

    Args:
      config: `MaskRCNNTraining`.
      params: Its `train_data`.
    """
    model, settings = config.model, params.parser
    parser = maskrcnn_input.Parser(
        **_shared_arguments(config, params),
        rpn_match_threshold=settings.rpn_match_threshold,
        rpn_unmatched_threshold=settings.rpn_unmatched_threshold,
        rpn_batch_size_per_im=settings.rpn_batch_size_per_im,
        rpn_fg_fraction=settings.rpn_fg_fraction,
        include_mask=False,
    )
    most = settings.max_num_instances

    def parse(sample: Sample) -> tuple[tf.Tensor, dict[str, Any]]:
        if settings.aug_rand_vflip:
            sample = flip_vertically(sample, tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32))
        image, labels = parser._parse_train_data(sample)
        if model.include_mask:
            spans, masks = cut_masks(
                sample,
                labels["image_info"],
                side=settings.mask_crop_size,
                outer_boxes_scale=model.outer_boxes_scale,
                skip_crowds=settings.skip_crowd_during_training,
            )
            labels["gt_outer_boxes"] = preprocess_ops.clip_or_pad_to_fixed_size(spans, most, PADDING)
            labels["gt_masks"] = preprocess_ops.clip_or_pad_to_fixed_size(masks, most, PADDING)
        crowds = _crowds_in_input(sample, labels["image_info"])
        labels["rpn_score_targets"] = ignore_crowds_in_proposals(
            labels["anchor_boxes"], labels["rpn_score_targets"], crowds
        )
        is_object = labels["gt_classes"] != PADDING
        boxes, classes = (tf.boolean_mask(labels[name], is_object) for name in ("gt_boxes", "gt_classes"))
        classes = tf.concat([classes, tf.fill(tf.shape(crowds)[:1], tf.cast(CROWD, classes.dtype))], axis=0)
        boxes = tf.concat([boxes, crowds], axis=0)
        labels["gt_boxes"] = preprocess_ops.clip_or_pad_to_fixed_size(boxes, most, PADDING)
        labels["gt_classes"] = preprocess_ops.clip_or_pad_to_fixed_size(classes, most, PADDING)
        return image, labels

    return parse


def _shared_arguments(config: Any, params: Any) -> Mapping[str, Any]:
    model, settings = config.model, params.parser
    return {
        "output_size": model.input_size[:2],
        "min_level": model.min_level,
        "max_level": model.max_level,
        "num_scales": model.anchor.num_scales,
        "aspect_ratios": model.anchor.aspect_ratios,
        "anchor_size": model.anchor.anchor_size,
        "aug_type": settings.aug_type,
        "aug_rand_hflip": False,
        "aug_scale_min": settings.aug_scale_min,
        "aug_scale_max": settings.aug_scale_max,
        "skip_crowd_during_training": settings.skip_crowd_during_training,
        "max_num_instances": settings.max_num_instances,
        "dtype": params.dtype,
    }


def _crowds_in_input(sample: Sample, image_info: tf.Tensor) -> tf.Tensor:
    """Boxes of crowds in input pixels: float32 [M, 4], scaled and cropped as the parser did with the objects."""
    boxes = tf.boolean_mask(sample[BOXES], sample[IS_CROWD])
    pixels = box_ops.denormalize_boxes(boxes, frame_of(sample))
    boxes = preprocess_ops.resize_and_crop_boxes(pixels, image_info[2], image_info[1], image_info[3])
    return tf.gather(boxes, box_ops.get_non_empty_box_indices(boxes))
