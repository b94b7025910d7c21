"""RetinaNet on mobile backbones: separable FPN and heads.

Sources: Lin et al., "Focal Loss for Dense Object Detection" (ICCV 2017); Xiong et al., "MobileDets" (CVPR 2021);
Sandler et al., "MobileNetV2" (CVPR 2018); configuration classes of `official.vision.configs.retinanet`.
"""

from dataclasses import dataclass

from official.core import config_definitions as cfg
from official.vision.configs import decoders
from official.vision.configs import retinanet as rn

from stages.core.detectors.backbone import build_backbone
from stages.core.detectors.data import TrainingData
from stages.core.detectors.model_config import PlainRetinaNet, row_fields
from stages.core.detectors.recipe import (
    EVALUATION_SCORE_THRESHOLD,
    apply_pyramid_anchors,
    apply_settings,
    augmentation_policy,
    norm_activation,
)
from stages.core.detectors.training_config import RetinaNetTraining
from stages.core.params.training import TrainSettings
from stages.core.tables.detectors import Detector

MIN_LEVEL, MAX_LEVEL = 3, 6
"""Strides 8..64. Level 7 would pad inputs to multiples of 128."""


@dataclass(frozen=True, kw_only=True)
class RetinaNetWidth:
    """Channels and depth of one size of the architecture.

    Attributes:
      backbone_scale: Factor on the backbone's filters.
      filters: Of FPN and heads. head_convs: Convolutions before each head's output.
    """

    backbone_scale: float
    filters: int
    head_convs: int


FULL = RetinaNetWidth(backbone_scale=1.0, filters=64, head_convs=4)
TINY = RetinaNetWidth(backbone_scale=0.25, filters=32, head_convs=1)


def retinanet_architecture(detector: Detector) -> cfg.ExperimentConfig:
    """The architecture of one row, with data and training still to be filled in."""
    width = TINY if detector.tiny else FULL
    model = PlainRetinaNet(
        min_level=MIN_LEVEL,
        max_level=MAX_LEVEL,
        backbone=build_backbone(detector, width.backbone_scale),
        decoder=decoders.Decoder(
            type="fpn", fpn=decoders.FPN(num_filters=width.filters, use_separable_conv=True, use_keras_layer=True)
        ),
        head=rn.RetinaNetHead(num_convs=width.head_convs, num_filters=width.filters, use_separable_conv=True),
        detection_generator=rn.DetectionGenerator(
            nms_version="batched", pre_nms_top_k=1000, pre_nms_score_threshold=EVALUATION_SCORE_THRESHOLD
        ),
        norm_activation=norm_activation(),
        **row_fields(detector),
    )
    return cfg.ExperimentConfig(
        task=RetinaNetTraining(model=model),
        trainer=cfg.TrainerConfig(best_checkpoint_eval_metric="AP"),
        restrictions=["task.train_data.is_training != None", "task.validation_data.is_training != None"],
    )


def retinanet_experiment(detector: Detector, settings: TrainSettings, data: TrainingData) -> cfg.ExperimentConfig:
    """The whole configuration: architecture, data and training."""
    config = retinanet_architecture(detector)
    apply_settings(config, settings, data)
    apply_pyramid_anchors(config.task.model.anchor, settings.anchors)
    for part in (config.task.train_data, config.task.validation_data):
        part.parser.keep_aspect_ratio = settings.resize == "letterbox"
    config.task.train_data.parser.aug_type = augmentation_policy(
        settings.augmentation.policy, autoaug_name="detection_v0", spatial=True
    )
    return config
