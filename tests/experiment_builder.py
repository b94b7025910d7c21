"""Configurations of trainings that are never run: what tests of detectors and training start from."""

from typing import Any

from stages.core.detectors.build import build_experiment
from stages.core.detectors.data import TrainingData
from stages.core.params.training import TrainSettings
from stages.core.tables.detectors import DETECTORS

DATA = TrainingData(
    train_records="data/prepared/train/*.tfrecord",
    val_records="data/prepared/val/*.tfrecord",
    val_annotations="data/prepared/val/annotations.json",
    num_classes=3,
    num_train=40,
    num_val=5,
    sha256="0" * 64,
)


def experiment(model: str = "retinanet_mobiledet_tiny", **settings: Any) -> Any:
    """The resolved configuration of one row with some parameters turned."""
    return build_experiment(DETECTORS[model], TrainSettings.model_validate(settings), DATA)
