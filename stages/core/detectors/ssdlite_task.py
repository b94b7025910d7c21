"""Model Garden's RetinaNet task for SSDLite: same training step, evaluation and metrics, another model."""

from typing import Any

import tensorflow as tf
from official.vision.modeling.layers.detection_generator import MultilevelDetectionGenerator
from official.vision.modeling.retinanet_model import RetinaNetModel
from official.vision.tasks import retinanet

from stages.core.detectors.as_written import as_written
from stages.core.detectors.backbone_model import kernel_regularizer
from stages.core.detectors.ssd_anchors import anchor_shapes, ssd_level_anchors
from stages.core.detectors.ssdlite_backbone import build_ssd_backbone
from stages.core.detectors.ssdlite_layers import SSDLiteHead, build_extra_maps, norm_options


class SSDLiteTask(retinanet.RetinaNetTask):  # type: ignore[misc]
    """Model Garden's task for an `SSDLiteModel`."""

    @as_written
    def build_model(self) -> Any:
        """The model."""
        model = build_ssdlite(self.task_config.model, regularizer=kernel_regularizer(self.task_config))
        model.backbone.trainable = not self.task_config.freeze_backbone
        return model


def build_ssdlite(config: Any, *, regularizer: Any = None) -> Any:
    """An untrained SSDLite as a Model Garden `RetinaNetModel`, whose decoder are the extra maps.

    Args:
      config: `task.model` of the experiment, an `SSDLiteModel`.
      regularizer: Of the kernels.
    """
    input_size = (int(config.input_size[0]), int(config.input_size[1]))
    backbone = build_ssd_backbone(config, regularizer=regularizer)
    shapes = {level: output.shape for level, output in backbone.output.items()}
    decoder = build_extra_maps(config, shapes, regularizer=regularizer)
    head = SSDLiteHead(
        levels=config.levels,
        num_classes=config.num_classes,
        anchors_per_cell=[len(own) for own in anchor_shapes(config.anchor, len(config.levels))],
        class_bias=config.class_bias,
        norm=norm_options(config),
        regularizer=regularizer,
    )
    head(decoder.output)  # creates its variables
    generator = config.detection_generator
    return RetinaNetModel(
        backbone,
        decoder,
        head,
        MultilevelDetectionGenerator(
            apply_nms=generator.apply_nms,
            pre_nms_top_k=generator.pre_nms_top_k,
            pre_nms_score_threshold=generator.pre_nms_score_threshold,
            nms_iou_threshold=generator.nms_iou_threshold,
            max_num_detections=generator.max_num_detections,
            nms_version=generator.nms_version,
            box_coder_weights=generator.box_coder_weights,
        ),
        anchor_boxes={
            level: tf.constant(boxes)
            for level, boxes in ssd_level_anchors(config.anchor, config.levels, input_size).items()
        },
        min_level=config.min_level,
        max_level=config.max_level,
    )
