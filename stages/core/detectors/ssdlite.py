"""SSDLite on mobile backbones, as published: six maps, one of them at stride 16, and no pyramid.

Sources: Sandler et al., "MobileNetV2" (CVPR 2018), section 6.2; Xiong et al., "MobileDets" (CVPR 2021); the configs
`ssdlite_mobiledet_*_320x320_coco_sync_4x4` of the TF Object Detection API, whose numbers these are.
"""

from dataclasses import dataclass

from official.core import config_definitions as cfg
from official.vision.configs import common
from official.vision.configs import retinanet as rn

from stages.core.detectors.backbone import build_backbone
from stages.core.detectors.data import TrainingData
from stages.core.detectors.model_config import row_fields
from stages.core.detectors.recipe import EVALUATION_SCORE_THRESHOLD, apply_settings, augmentation_policy
from stages.core.detectors.ssdlite_config import SSDLiteModel
from stages.core.detectors.training_config import AugmentationConfig, SSDLiteTraining
from stages.core.params.training import TrainSettings
from stages.core.tables.detectors import Detector

BOX_CODER_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Of (dy, dx, dh, dw)."""


@dataclass(frozen=True, kw_only=True)
class SSDLiteWidth:
    """Channels of one size of the architecture.

    Attributes:
      backbone_scale: Factor on the backbone's filters.
      extra_depths: Channels of the extra maps, finest first.
    """

    backbone_scale: float
    extra_depths: tuple[int, ...]


FULL = SSDLiteWidth(backbone_scale=1.0, extra_depths=(512, 256, 256, 128))
TINY = SSDLiteWidth(backbone_scale=0.25, extra_depths=(64, 32, 32, 16))


def ssdlite_architecture(detector: Detector) -> cfg.ExperimentConfig:
    """The architecture of one row, with losses and augmentation as published; data and training are to be filled in."""
    width = TINY if detector.tiny else FULL
    model = SSDLiteModel(
        backbone=build_backbone(detector, width.backbone_scale),
        extra_depths=list(width.extra_depths),
        detection_generator=rn.DetectionGenerator(
            nms_version="batched",
            pre_nms_top_k=1000,
            pre_nms_score_threshold=EVALUATION_SCORE_THRESHOLD,
            nms_iou_threshold=0.6,
            box_coder_weights=list(BOX_CODER_WEIGHTS),
        ),
        norm_activation=common.NormActivation(
            activation="relu6", norm_momentum=0.97, norm_epsilon=0.001, use_sync_bn=False
        ),
        **row_fields(detector),
    )
    task = SSDLiteTraining(
        model=model,
        augmentation=AugmentationConfig(random_crop=1.0),
        losses=rn.Losses(focal_loss_alpha=0.75, focal_loss_gamma=2.0, huber_loss_delta=1.0, box_loss_weight=1),
    )
    task.train_data.parser.aug_rand_hflip = True
    for data in (task.train_data, task.validation_data):
        data.parser.pad = False  # the maps' sides are rounded up, whatever the input's
    return cfg.ExperimentConfig(
        task=task,
        trainer=cfg.TrainerConfig(best_checkpoint_eval_metric="AP"),
        restrictions=["task.train_data.is_training != None", "task.validation_data.is_training != None"],
    )


def ssdlite_experiment(detector: Detector, settings: TrainSettings, data: TrainingData) -> cfg.ExperimentConfig:
    """The whole configuration: architecture, data and training."""
    config = ssdlite_architecture(detector)
    apply_settings(config, settings, data)
    anchor, params = config.task.model.anchor, settings.ssd_anchors
    for name in type(params).model_fields:
        setattr(anchor, name, getattr(params, name))
    anchor.aspect_ratios = list(params.aspect_ratios)
    for part in (config.task.train_data, config.task.validation_data):
        part.parser.keep_aspect_ratio = settings.resize == "letterbox"
    config.task.train_data.parser.aug_type = augmentation_policy(
        settings.augmentation.policy, autoaug_name="detection_v0", spatial=True
    )
    return config
