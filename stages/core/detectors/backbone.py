"""Model Garden's configuration of a row's backbone."""

from official.vision.configs import backbones

from stages.core.tables.detectors import Detector


def build_backbone(detector: Detector, scale: float) -> backbones.Backbone:
    """The backbone's configuration.

    Args:
      detector: The row.
      scale: Factor on the filters of the row's size; a ResNet has none.
    """
    name = detector.backbone
    if name.startswith("MobileDet"):
        mobiledet = backbones.MobileDet(model_id=name, filter_size_scale=scale)
        return backbones.Backbone(type="mobiledet", mobiledet=mobiledet)
    if name.startswith("MobileNet"):
        mobilenet = backbones.MobileNet(model_id=name, filter_size_scale=scale)
        return backbones.Backbone(type="mobilenet", mobilenet=mobilenet)
    return backbones.Backbone(type="resnet", resnet=backbones.ResNet(model_id=int(name.removeprefix("resnet"))))


def apply_width(config: backbones.Backbone, width: float) -> None:
    """Multiplies the filters of a backbone's configuration, in place; a ResNet's can only stay as they are."""
    if config.type != "resnet":
        config.get().filter_size_scale *= width
