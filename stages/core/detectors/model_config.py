"""What a row says of its model that Model Garden's configurations have no field for: they are extended here."""

import dataclasses
from typing import Any

from official.modeling.hyperparams import base_config
from official.vision.configs import retinanet as rn

from stages.core.tables.detectors import Detector


@dataclasses.dataclass
class PixelsConfig(base_config.Config):  # type: ignore[misc]
    """(pixel - mean) / deviation per channel (red, green, blue), in units of 0..255; see `PixelScaling`."""

    mean: list[float] = dataclasses.field(default_factory=list)
    deviation: list[float] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class PlainRetinaNet(rn.RetinaNet):  # type: ignore[misc]
    """A RetinaNet with the pre-processing and the batch-norm epsilon of its backbone.

    Attributes:
      backbone_repeats: Whether a MobileDet has all its blocks with a residual; tiny rows do without most.
    """

    pixels: PixelsConfig = dataclasses.field(default_factory=PixelsConfig)
    backbone_norm_epsilon: float = 0.001
    backbone_repeats: bool = True


def row_fields(detector: Detector) -> dict[str, Any]:
    """The fields that every model's configuration has from its row."""
    scaling = detector.pixels
    return {
        "pixels": PixelsConfig(mean=list(scaling.mean), deviation=list(scaling.deviation)),
        "backbone_norm_epsilon": detector.norm_epsilon,
        "backbone_repeats": not detector.tiny,
    }
