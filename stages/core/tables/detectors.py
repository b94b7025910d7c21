"""THE TABLE of detectors. Importing it costs nothing: the builders (TensorFlow) live beside it.

Sources: MobileDet backbones, Xiong et al., "MobileDets: Searching for Object Detection Architectures for Mobile
Accelerators" (CVPR 2021); MobileNetV2 and SSDLite, Sandler et al. (CVPR 2018); RetinaNet, Lin et al. (ICCV 2017); Mask
R-CNN, He et al. (ICCV 2017).
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, kw_only=True)
class PixelScaling:
    """What the network makes of a pixel: (value - mean) / deviation, per channel (red, green, blue).

    Attributes:
      mean, deviation: In units of 0..255.
    """

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class BackboneFacts:
    """What published weights of a backbone were trained with: docs/decisions/0020.

    Attributes:
      pixels: Pre-processing.
      norm_epsilon: What its batch norms add to the variance.
    """

    pixels: PixelScaling
    norm_epsilon: float


SIGNED = PixelScaling(mean=(127.5, 127.5, 127.5), deviation=(127.5, 127.5, 127.5))
"""0..255 to -1..1, as the TF Object Detection API's mobile feature extractors have it."""
IMAGENET = PixelScaling(mean=(123.675, 116.28, 103.53), deviation=(58.395, 57.12, 57.375))
"""Mean and deviation of ImageNet, as in Model Garden."""

BACKBONES: dict[str, BackboneFacts] = {
    **dict.fromkeys(
        ("MobileDetCPU", "MobileDetEdgeTPU", "MobileDetDSP", "MobileDetGPU"),
        BackboneFacts(pixels=SIGNED, norm_epsilon=0.01),
    ),
    "MobileNetV2": BackboneFacts(pixels=SIGNED, norm_epsilon=0.001),
    "resnet50": BackboneFacts(pixels=IMAGENET, norm_epsilon=0.001),
}
"""By `Detector.backbone`."""


class Family(StrEnum):
    """Detection architecture: which builder and which deployment graph."""

    RETINANET = "retinanet"
    SSDLITE = "ssdlite"
    MASKRCNN = "maskrcnn"


class Task(StrEnum):
    """What a detector gives for each object."""

    DETECTION = "detection"
    SEGMENTATION = "segmentation"


@dataclass(frozen=True, kw_only=True)
class Detector:
    """One row of the model table.

    Attributes:
      name: What params.yaml, paths and reports call it.
      family: Architecture around the backbone.
      backbone: Model Garden's backbone: a MobileDet or MobileNet `model_id`, or `resnet50`.
      tiny: Few, narrow layers for tests and smoke runs; not meant to be accurate.
    """

    name: str
    family: Family
    backbone: str
    tiny: bool = False

    @property
    def task(self) -> Task:
        return Task.SEGMENTATION if self.family is Family.MASKRCNN else Task.DETECTION

    @property
    def pixels(self) -> PixelScaling:
        """Pre-processing of the network's input."""
        return BACKBONES[self.backbone].pixels

    @property
    def norm_epsilon(self) -> float:
        """What the backbone's batch norms add to the variance."""
        return BACKBONES[self.backbone].norm_epsilon

    @property
    def has_ssd_anchors(self) -> bool:
        """Whether its anchors are `ssd_anchors` of params.yaml, and not `anchors`."""
        return self.family is Family.SSDLITE

    @property
    def size_step(self) -> int:
        """What the sides of its input are multiples of, in pixels."""
        return 1 if self.family is Family.SSDLITE else 64

    @property
    def has_width(self) -> bool:
        """Whether Model Garden's backbone has a factor on its channels."""
        return not self.backbone.startswith("resnet")

    @property
    def has_masks(self) -> bool:
        return self.task is Task.SEGMENTATION


_ROWS = (
    Detector(
        name="retinanet_mobiledet_cpu",
        family=Family.RETINANET,
        backbone="MobileDetCPU",
    ),
    Detector(
        name="retinanet_mobiledet_edgetpu",
        family=Family.RETINANET,
        backbone="MobileDetEdgeTPU",
    ),
    Detector(
        name="retinanet_mobiledet_dsp",
        family=Family.RETINANET,
        backbone="MobileDetDSP",
    ),
    Detector(
        name="retinanet_mobiledet_gpu",
        family=Family.RETINANET,
        backbone="MobileDetGPU",
    ),
    Detector(
        name="retinanet_mobilenetv2",
        family=Family.RETINANET,
        backbone="MobileNetV2",
    ),
    Detector(
        name="ssdlite_mobiledet_cpu",
        family=Family.SSDLITE,
        backbone="MobileDetCPU",
    ),
    Detector(
        name="ssdlite_mobiledet_edgetpu",
        family=Family.SSDLITE,
        backbone="MobileDetEdgeTPU",
    ),
    Detector(
        name="ssdlite_mobiledet_dsp",
        family=Family.SSDLITE,
        backbone="MobileDetDSP",
    ),
    Detector(
        name="ssdlite_mobiledet_gpu",
        family=Family.SSDLITE,
        backbone="MobileDetGPU",
    ),
    Detector(
        name="ssdlite_mobilenetv2",
        family=Family.SSDLITE,
        backbone="MobileNetV2",
    ),
    Detector(
        name="maskrcnn_mobiledet",
        family=Family.MASKRCNN,
        backbone="MobileDetEdgeTPU",
    ),
    Detector(
        name="maskrcnn_resnet50",
        family=Family.MASKRCNN,
        backbone="resnet50",
    ),
    Detector(
        name="retinanet_mobiledet_tiny",
        family=Family.RETINANET,
        backbone="MobileDetEdgeTPU",
        tiny=True,
    ),
    Detector(
        name="ssdlite_tiny",
        family=Family.SSDLITE,
        backbone="MobileDetEdgeTPU",
        tiny=True,
    ),
    Detector(
        name="maskrcnn_tiny",
        family=Family.MASKRCNN,
        backbone="MobileDetEdgeTPU",
        tiny=True,
    ),
)

DETECTORS: dict[str, Detector] = {row.name: row for row in _ROWS}

RENAMED_DETECTORS = {
    f"mobiledet_{variant}": f"retinanet_mobiledet_{variant}" for variant in ("cpu", "edgetpu", "dsp", "gpu", "tiny")
}
"""Names of earlier versions, with today's."""
