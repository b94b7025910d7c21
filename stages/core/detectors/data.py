"""What a detector's configuration must know of the prepared data, and whether the two fit. Needs no TensorFlow."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from stages.core.base.errors import DataError, TrainingError
from stages.core.base.layout import Layout
from stages.core.datasets.prepared import read_labels, read_prepare_report, read_split
from stages.core.tables.detectors import DETECTORS, Detector


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Prepared data as seen by training. Paths are relative to the project's root, so that configurations travel.

    Attributes:
      train_records, val_records: Globs of TFRecord shards.
      val_annotations: COCO JSON that the evaluator compares with.
      num_classes: Foreground classes; category ids are 1..num_classes.
      num_train, num_val: Images of each split.
      labels: Category id to name.
      sha256: Hash of all splits, from `prepare`'s report.
    """

    train_records: str
    val_records: str
    val_annotations: str
    num_classes: int
    num_train: int
    num_val: int
    sha256: str
    labels: Mapping[int, str] = field(default_factory=dict)


def read_training_data(layout: Layout, detector: Detector) -> TrainingData:
    """Reads what `prepare` wrote and checks that `detector` can be trained on it.

    Raises:
      MissingResultError: if the data was not prepared.
      DataError: if a split is empty, or masks are needed and objects have none.
    """
    report = read_prepare_report(layout.prepare_report)
    labels = read_labels(layout.labels)
    train, val = read_split(layout.split("train")), read_split(layout.split("val"))
    for split in (train, val):
        if not split.images:
            raise DataError(f"{split.annotations}: no images; training needs at least one in `train` and in `val`")
        if detector.has_masks:
            check_masks(split.annotations.read_bytes(), str(split.annotations), detector)
    return TrainingData(
        train_records=_relative(train.records, layout),
        val_records=_relative(val.records, layout),
        val_annotations=_relative(str(val.annotations), layout),
        num_classes=max(labels),
        num_train=len(train.images),
        num_val=len(val.images),
        sha256=report.sha256,
        labels=labels,
    )


def check_masks(annotations: bytes, where: str, detector: Detector) -> None:
    """Raises DataError unless every object of a COCO JSON has a mask."""
    objects = json.loads(annotations)["annotations"]
    bare = [entry["id"] for entry in objects if not entry.get("segmentation")]
    if bare:
        boxes_only = ", ".join(name for name, row in DETECTORS.items() if not row.has_masks)
        raise DataError(
            f"{where}: {len(bare)} of {len(objects)} objects have no mask (first: annotation {bare[0]}), and "
            f"{detector.name} learns masks; label masks, or train a model that needs only boxes ({boxes_only})"
        )


def check_batch_size(model: str, batch_size: int, num_train: int) -> None:
    """Raises TrainingError if one batch would hold an image twice."""
    if batch_size > num_train:
        raise TrainingError(
            f"params.yaml: train.{model}.batch_size {batch_size} is larger than the train split ({num_train} images); "
            f"lower it to at most {num_train}"
        )


def _relative(path: str, layout: Layout) -> str:
    return path.removeprefix(f"{layout.root}/")
