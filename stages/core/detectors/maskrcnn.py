"""Mask R-CNN: MobileDet backbones with narrow heads, and the classic ResNet50-FPN.

Sources: He et al., "Mask R-CNN" (ICCV 2017); configuration classes of `official.vision.configs.maskrcnn`.
"""

import itertools
from dataclasses import dataclass

from official.core import config_definitions as cfg
from official.vision.configs import decoders
from official.vision.configs import maskrcnn as mr

from stages.core.base.errors import ParamsError
from stages.core.detectors.backbone import build_backbone
from stages.core.detectors.data import TrainingData
from stages.core.detectors.model_config import row_fields
from stages.core.detectors.recipe import (
    EVALUATION_SCORE_THRESHOLD,
    apply_pyramid_anchors,
    apply_settings,
    augmentation_policy,
    norm_activation,
)
from stages.core.detectors.region_sampling import BoxAlignerConfig, MaskAlignerConfig, SampledMaskRCNN
from stages.core.detectors.training_config import MaskRCNNTraining
from stages.core.params.training import RegionParams, TrainSettings
from stages.core.tables.detectors import Detector

MAX_LEVEL = 6


@dataclass(frozen=True, kw_only=True)
class MaskRCNNWidth:
    """Channels and depth of one size of the architecture.

    Attributes:
      min_level: Finest pyramid level (stride 2 ** min_level).
      backbone_scale: Factor on a mobile backbone's filters.
      filters: Of FPN and all convolutional heads. head_convs: Convolutions of the box and the mask head.
      fc_dims: Of the box head. num_proposals: Regions per image that the heads see.
      sampled_rois, sampled_masks: Regions per image that the losses see.
    """

    min_level: int
    backbone_scale: float = 1.0
    filters: int
    head_convs: int
    fc_dims: int
    num_proposals: int
    sampled_rois: int
    sampled_masks: int


MOBILE = MaskRCNNWidth(
    min_level=3, filters=64, head_convs=2, fc_dims=256, num_proposals=200, sampled_rois=64, sampled_masks=16
)
CLASSIC = MaskRCNNWidth(
    min_level=2, filters=256, head_convs=4, fc_dims=1024, num_proposals=500, sampled_rois=128, sampled_masks=32
)
TINY = MaskRCNNWidth(
    min_level=3,
    backbone_scale=0.25,
    filters=32,
    head_convs=1,
    fc_dims=64,
    num_proposals=64,
    sampled_rois=32,
    sampled_masks=8,
)


def maskrcnn_architecture(detector: Detector) -> cfg.ExperimentConfig:
    """The architecture of one row, with data and training still to be filled in."""
    width = TINY if detector.tiny else MOBILE if detector.has_width else CLASSIC
    model = SampledMaskRCNN(
        min_level=width.min_level,
        max_level=MAX_LEVEL,
        backbone=build_backbone(detector, width.backbone_scale),
        decoder=decoders.Decoder(type="fpn", fpn=decoders.FPN(num_filters=width.filters, use_keras_layer=True)),
        rpn_head=mr.RPNHead(num_convs=1, num_filters=width.filters),
        detection_head=mr.DetectionHead(
            num_convs=width.head_convs, num_filters=width.filters, num_fcs=1, fc_dims=width.fc_dims
        ),
        mask_head=mr.MaskHead(num_convs=width.head_convs, num_filters=width.filters),
        roi_generator=_roi_generator(width.num_proposals, width.num_proposals),
        roi_sampler=mr.ROISampler(num_sampled_rois=width.sampled_rois),
        mask_sampler=mr.MaskSampler(num_sampled_masks=width.sampled_masks),
        detection_generator=mr.DetectionGenerator(
            nms_version="batched", pre_nms_top_k=1000, pre_nms_score_threshold=EVALUATION_SCORE_THRESHOLD
        ),
        norm_activation=norm_activation(),
        **row_fields(detector),
    )
    return cfg.ExperimentConfig(
        task=MaskRCNNTraining(model=model),
        trainer=cfg.TrainerConfig(best_checkpoint_eval_metric="mask_AP"),
        restrictions=["task.train_data.is_training != None", "task.validation_data.is_training != None"],
    )


def maskrcnn_experiment(detector: Detector, settings: TrainSettings, data: TrainingData) -> cfg.ExperimentConfig:
    """The whole configuration: architecture, data and training."""
    config = maskrcnn_architecture(detector)
    apply_settings(config, settings, data)
    apply_pyramid_anchors(config.task.model.anchor, settings.anchors)
    _apply_regions(config.task.model, settings.regions, section=f"train.{detector.name}.regions")
    config.task.train_data.parser.aug_type = augmentation_policy(
        settings.augmentation.policy, autoaug_name="panoptic_deeplab_policy", spatial=False
    )
    return config


def _apply_regions(model: SampledMaskRCNN, regions: RegionParams, *, section: str) -> None:
    """Writes the parameters that are set into the configuration, in place.

    Raises:
      ParamsError: if more masks are to be sampled than there are regions, or more regions than proposals.
    """
    own = model.roi_generator
    model.roi_generator = _roi_generator(
        regions.num_proposals or own.num_proposals, regions.test_num_proposals or own.test_num_proposals
    )
    model.roi_sampler.num_sampled_rois = regions.num_sampled_rois or model.roi_sampler.num_sampled_rois
    model.mask_sampler.num_sampled_masks = regions.num_sampled_masks or model.mask_sampler.num_sampled_masks
    model.roi_aligner = BoxAlignerConfig(crop_size=regions.box_crop_size, sampling_ratio=regions.sampling_ratio)
    model.mask_roi_aligner = MaskAlignerConfig(crop_size=regions.mask_crop_size, sampling_ratio=regions.sampling_ratio)
    sizes = {
        "num_proposals": model.roi_generator.num_proposals,
        "num_sampled_rois": model.roi_sampler.num_sampled_rois,
        "num_sampled_masks": model.mask_sampler.num_sampled_masks,
    }
    for (more, most), (fewer, num) in itertools.pairwise(sizes.items()):
        if num > most:
            raise ParamsError(
                f"params.yaml: {section}.{fewer} {num} must be at most {more} {most}: they are drawn from those"
            )


def _roi_generator(num_proposals: int, test_num_proposals: int) -> mr.ROIGenerator:
    """Fewer candidates than on COCO's crowded scenes: the region NMS is what training waits for on a CPU."""
    return mr.ROIGenerator(
        pre_nms_top_k=2 * num_proposals,
        num_proposals=num_proposals,
        test_pre_nms_top_k=2 * test_num_proposals,
        test_num_proposals=test_num_proposals,
        use_batched_nms=True,
    )
