"""What a training does that Model Garden's configuration has no field for: its task configurations, extended.

`stages/core/training` reads these fields; building, exporting and restoring a model depend only on `model`.
"""

import dataclasses

from official.core import task_factory
from official.modeling.hyperparams import base_config
from official.vision.configs import maskrcnn as mr
from official.vision.configs import retinanet as rn

from stages.core.detectors.model_config import PlainRetinaNet
from stages.core.detectors.region_sampling import SampledMaskRCNN, SampledMaskRCNNTask
from stages.core.detectors.retinanet_task import PlainRetinaNetTask
from stages.core.detectors.ssdlite_config import SSDLiteModel
from stages.core.detectors.ssdlite_task import SSDLiteTask


@dataclasses.dataclass
class AugmentationConfig(base_config.Config):  # type: ignore[misc]
    """Random changes besides those of the parser's own fields; names and meaning as in `AugmentationParams`."""

    orientation_free: bool = False
    color_jitter: float = 0.0
    random_crop: float = 0.0
    mosaic: float = 0.0
    mix_up: float = 0.0
    copy_paste: float = 0.0
    plain_share: float = 0.2


@dataclasses.dataclass
class MethodsConfig(base_config.Config):  # type: ignore[misc]
    """Rows of the tables in `stages/core/training/losses`; names and meaning as in `LossParams`."""

    assigner: str = "iou"
    box: str = "huber"
    classes: str = "focal"
    mask: str = "bce"
    class_weights: str = "none"


@dataclasses.dataclass
class MultiScaleConfig(base_config.Config):  # type: ignore[misc]
    """Input sizes besides `model.input_size`; meaning as in `MultiScaleParams`. Model Garden's lists are flat."""

    heights: list[int] = dataclasses.field(default_factory=list)
    widths: list[int] = dataclasses.field(default_factory=list)
    order: str = "growing"
    final_share: float = 0.5


@dataclasses.dataclass
class RetinaNetTraining(rn.RetinaNetTask):  # type: ignore[misc]
    """Training of a RetinaNet; fields as in `TrainSettings`."""

    model: PlainRetinaNet = dataclasses.field(default_factory=PlainRetinaNet)
    resize: str = "letterbox"
    augmentation: AugmentationConfig = dataclasses.field(default_factory=AugmentationConfig)
    methods: MethodsConfig = dataclasses.field(default_factory=MethodsConfig)
    multi_scale: MultiScaleConfig = dataclasses.field(default_factory=MultiScaleConfig)
    image_cache_mb: int = 0
    recalibrate_batch_norm: int = 0
    layer_decay: float = 1.0
    freeze_backbone_steps: int = 0
    sampling: str = "uniform"
    sampling_threshold: float | None = None


@dataclasses.dataclass
class SSDLiteTraining(RetinaNetTraining):
    """Training of an SSDLite; fields as in `TrainSettings`."""

    model: SSDLiteModel = dataclasses.field(default_factory=SSDLiteModel)


@dataclasses.dataclass
class MaskRCNNTraining(mr.MaskRCNNTask):  # type: ignore[misc]
    """Training of a Mask R-CNN; fields as in `TrainSettings`."""

    model: SampledMaskRCNN = dataclasses.field(default_factory=SampledMaskRCNN)
    resize: str = "letterbox"
    augmentation: AugmentationConfig = dataclasses.field(default_factory=AugmentationConfig)
    methods: MethodsConfig = dataclasses.field(default_factory=MethodsConfig)
    multi_scale: MultiScaleConfig = dataclasses.field(default_factory=MultiScaleConfig)
    image_cache_mb: int = 0
    recalibrate_batch_norm: int = 0
    layer_decay: float = 1.0
    freeze_backbone_steps: int = 0
    sampling: str = "uniform"
    sampling_threshold: float | None = None


# Model Garden's registry then answers to the extended configurations as well: models are built by its own tasks.
task_factory.register_task_cls(RetinaNetTraining)(PlainRetinaNetTask)
task_factory.register_task_cls(SSDLiteTraining)(SSDLiteTask)
task_factory.register_task_cls(MaskRCNNTraining)(SampledMaskRCNNTask)
