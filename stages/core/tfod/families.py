"""THE TABLE of the API's models that have a counterpart here, and the nearest row for those that have none."""

from dataclasses import dataclass

from stages.core.tables.detectors import DETECTORS, Detector

FULL_CONVOLUTIONS = (
    "without use_depthwise, the API's extra maps and predictors are full convolutions, the row's separable"
)


@dataclass(frozen=True, kw_only=True)
class Counterpart:
    """A model of the API and the row that stands for it.

    Attributes:
      meta: Field of `model` that holds it: ssd or faster_rcnn.
      extractor: `feature_extractor.type`.
      row: Name in `DETECTORS`.
      differs: How the row's architecture differs; empty if it does not.
      exported: Whether `export_config` writes the row as this model.
    """

    meta: str
    extractor: str
    row: str
    differs: str
    exported: bool = False

    @property
    def detector(self) -> Detector:
        return DETECTORS[self.row]

    @property
    def has_masks(self) -> bool:
        return self.detector.has_masks


def _mobiledet(variant: str) -> Counterpart:
    extractor, row = f"ssd_mobiledet_{variant}", f"ssdlite_mobiledet_{variant}"
    return Counterpart(meta="ssd", extractor=extractor, row=row, differs="", exported=True)


def _mobilenet(suffix: str) -> Counterpart:
    extractor, row = f"ssd_mobilenet_v2{suffix}", "ssdlite_mobilenetv2"
    return Counterpart(meta="ssd", extractor=extractor, row=row, differs="", exported=not suffix)


def _mobilenet_fpn(suffix: str) -> Counterpart:
    differs = "the row's pyramid ends at stride 64, the API's at 128"
    extractor = f"ssd_mobilenet_v2_fpn{suffix}"
    return Counterpart(meta="ssd", extractor=extractor, row="retinanet_mobilenetv2", differs=differs)


def _mask_rcnn(suffix: str, differs: str, *, exported: bool = False) -> Counterpart:
    return Counterpart(
        meta="faster_rcnn",
        extractor=f"faster_rcnn_resnet50{suffix}",
        row="maskrcnn_resnet50",
        differs=differs,
        exported=exported,
    )


_ONE_MAP = "the API's Mask R-CNN has one feature map (conv4), the row a pyramid (FPN, strides 4 to 64)"

COUNTERPARTS: tuple[Counterpart, ...] = (
    *(_mobiledet(variant) for variant in ("cpu", "edgetpu", "dsp", "gpu")),
    *(_mobilenet(suffix) for suffix in ("", "_keras")),
    *(_mobilenet_fpn(suffix) for suffix in ("", "_keras", "_sep_conv_keras")),
    *(_mask_rcnn(suffix, _ONE_MAP, exported=not suffix) for suffix in ("", "_keras")),
    _mask_rcnn("_fpn_keras", ""),
)

NEAREST = {
    "ssd_mobilenet": "ssdlite_mobilenetv2",
    "ssd_efficientnet": "retinanet_mobiledet_gpu",
    "ssd": "retinanet_mobiledet_gpu",
    "faster_rcnn": "maskrcnn_resnet50",
    "center_net": "retinanet_mobiledet_gpu",
    "experimental_model": "retinanet_mobiledet_gpu",
}
"""Start of `feature_extractor.type`, or field of `model`, to the row to start from; the first that fits counts."""


def find_counterpart(meta: str, extractor: str) -> Counterpart | None:
    """The counterpart of a model of the API, if it has one."""
    return next((row for row in COUNTERPARTS if (row.meta, row.extractor) == (meta, extractor)), None)


def nearest_row(meta: str, extractor: str) -> str:
    """The row to start from, for a model without a counterpart."""
    return next(
        (row for start, row in NEAREST.items() if extractor.startswith(start)),
        NEAREST.get(meta, "retinanet_mobiledet_gpu"),
    )


def exported_as(row: str) -> Counterpart | None:
    """The model of the API that `export_config` writes for a row."""
    return next((found for found in COUNTERPARTS if found.row == row and found.exported), None)
