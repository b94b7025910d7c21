"""THE TABLE of published checkpoints: what `init_checkpoint: zoo:<name>` stands for.

Sources: the TF1 detection zoo of the Object Detection API (research/object_detection/g3doc/tf1_detection_zoo.md) and
TF-Vision's MODEL_GARDEN.md, both of tensorflow/models; addresses and figures as published there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from stages.core.base.errors import CheckpointError
from stages.core.params.names import check_name
from stages.core.tables.detectors import DETECTORS
from stages.core.training.initializing.coco_classes import COCO_CLASSES

PREFIX = "zoo:"
_TF1_ZOO = "http://download.tensorflow.org/models/object_detection/"
_MODEL_GARDEN = "https://storage.googleapis.com/tf_model_garden/vision/"


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """One published checkpoint.

    Attributes:
      name: What follows `zoo:`.
      url: Published address of the archive.
      files: Pattern of the checkpoint's index inside the archive: one archive may hold a float and a quantized one.
      licence: Of the weights.
      published: Accuracy as published, in points.
      backbone: Its backbone, as `Detector.backbone` calls it.
      decoder: Rows whose decoder it fits as well.
      whole: Rows that it fits as a whole: backbone, extra maps and heads.
      labels: Class id to name of what it detects; empty for a classifier.
      epsilon: Of its batch norms, where the checkpoint does not say; None: the kind's.
    """

    name: str
    url: str
    files: str = "*.index"
    licence: str = "Apache-2.0"
    published: str
    backbone: str
    decoder: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    labels: Mapping[int, str]
    epsilon: float | None = None

    @property
    def rows(self) -> tuple[str, ...]:
        """Every row that it fits at least in part."""
        return tuple(name for name, row in DETECTORS.items() if row.backbone == self.backbone and not row.tiny)


def _mobiledet(variant: str, backbone: str, published: str, *, folder: str = "") -> ZooEntry:
    quantized = folder == "uint8"
    return ZooEntry(
        name=f"ssdlite_mobiledet_{variant}{'_uint8' if quantized else ''}",
        url=f"{_TF1_ZOO}ssdlite_mobiledet_{variant}_320x320_coco_2020_05_19.tar.gz",
        files=f"*/{folder}/model.ckpt*.index" if folder else "*/model.ckpt*.index",
        published=published,
        backbone=backbone,
        whole=_existing(f"ssdlite_mobiledet_{variant}"),
        labels=COCO_CLASSES,
    )


def _existing(*names: str) -> tuple[str, ...]:
    return tuple(name for name in names if name in DETECTORS)


_ENTRIES = (
    _mobiledet("cpu", "MobileDetCPU", "24.0 box AP"),
    _mobiledet("edgetpu", "MobileDetEdgeTPU", "25.9 box AP", folder="fp32"),
    _mobiledet("edgetpu", "MobileDetEdgeTPU", "25.6 box AP, quantization-aware", folder="uint8"),
    _mobiledet("dsp", "MobileDetDSP", "28.9 box AP", folder="fp32"),
    _mobiledet("dsp", "MobileDetDSP", "28.8 box AP, quantization-aware", folder="uint8"),
    ZooEntry(
        name="ssdlite_mobilenetv2",
        url=f"{_TF1_ZOO}ssdlite_mobilenet_v2_coco_2018_05_09.tar.gz",
        files="*/model.ckpt*.index",
        published="22 box AP",
        backbone="MobileNetV2",
        whole=_existing("ssdlite_mobilenetv2"),
        labels=COCO_CLASSES,
    ),
    ZooEntry(
        name="ssd_mobilenetv2",
        url=f"{_TF1_ZOO}ssd_mobilenet_v2_coco_2018_03_29.tar.gz",
        files="*/model.ckpt*.index",
        published="22 box AP",
        backbone="MobileNetV2",
        labels=COCO_CLASSES,
    ),
    ZooEntry(
        name="resnet50_imagenet",
        url=f"{_MODEL_GARDEN}resnet/resnet-50-i224.tar.gz",
        published="77.1 top-1 (ImageNet)",
        backbone="resnet50",
        labels={},
        epsilon=1e-5,
    ),
    ZooEntry(
        name="retinanet_resnet50fpn",
        url=f"{_MODEL_GARDEN}retinanet/retinanet-resnet50fpn.tar.gz",
        published="36.8 box AP",
        backbone="resnet50",
        decoder=("maskrcnn_resnet50",),
        labels=COCO_CLASSES,
    ),
)

ZOO: dict[str, ZooEntry] = {entry.name: entry for entry in _ENTRIES}


def find_entry(source: str) -> ZooEntry | None:
    """The entry that `source` names as `zoo:<name>`; None for anything else.

    Raises:
      CheckpointError: for a name that is not in the table.
    """
    if not source.startswith(PREFIX):
        return None
    name = source.removeprefix(PREFIX)
    try:
        check_name(name, "zoo checkpoint", ZOO)
    except ValueError as error:
        raise CheckpointError(f"init_checkpoint {source}: {error}") from None
    return ZOO[name]


def list_zoo() -> str:
    """The table for a terminal: name, accuracy, rows that it fits, address."""
    lines = ["init_checkpoint: zoo:<name>"]
    for entry in ZOO.values():
        lines += [f"  {entry.name}", f"    {entry.published}; {entry.licence}; {entry.url}"]
        parts = {"all of": entry.whole, "backbone and decoder of": entry.decoder}
        named = {name for rows in parts.values() for name in rows}
        parts["backbone of"] = tuple(name for name in entry.rows if name not in named)
        lines += [f"    {part} {', '.join(rows)}" for part, rows in parts.items() if rows]
    return "\n".join(lines)
