"""Model Garden's RetinaNet configuration with what an SSDLite has besides."""

import dataclasses

from stages.core.detectors.model_config import PlainRetinaNet
from stages.core.detectors.ssd_anchors import SsdAnchorConfig


@dataclasses.dataclass
class SSDLiteModel(PlainRetinaNet):
    """An SSDLite: of a RetinaNet's fields, `decoder` and `head` mean nothing here.

    Attributes:
      anchor: Shapes of the anchors; the number of predictions per cell follows.
      extra_depths: Channels of the maps after the backbone's two, finest first.
      class_bias: Initial bias of the class predictors: the logit of the scores before training.
    """

    min_level: int = 4
    max_level: int = 9
    anchor: SsdAnchorConfig = dataclasses.field(default_factory=SsdAnchorConfig)
    extra_depths: list[int] = dataclasses.field(default_factory=lambda: [512, 256, 256, 128])
    class_bias: float = -4.6

    @property
    def levels(self) -> list[int]:
        """Of the maps, finest first: map l has stride 2 ** l."""
        return list(range(self.min_level, self.max_level + 1))
