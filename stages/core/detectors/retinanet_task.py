"""Model Garden's RetinaNet task, whose models have the backbone of `backbone_model.py`."""

from typing import Any

from official.vision.modeling.factory import build_retinanet
from official.vision.tasks import retinanet

from stages.core.detectors.as_written import as_written
from stages.core.detectors.backbone_model import build_backbone_model, input_specs, kernel_regularizer


class PlainRetinaNetTask(retinanet.RetinaNetTask):  # type: ignore[misc]
    """Model Garden's task for a `PlainRetinaNet`."""

    @as_written
    def build_model(self) -> Any:
        """The model; all but the backbone is Model Garden's."""
        config, regularizer = self.task_config.model, kernel_regularizer(self.task_config)
        backbone = build_backbone_model(config, regularizer=regularizer)
        model = build_retinanet(input_specs(config), config, l2_regularizer=regularizer, backbone=backbone)
        model.backbone.trainable = not self.task_config.freeze_backbone
        return model
