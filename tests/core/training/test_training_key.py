"""A training is resumed only where everything that its result depends on is the same."""

from typing import Any

import pytest

from stages.core.detectors.build import build_experiment, register_experiments
from stages.core.params.training import TrainSettings
from stages.core.tables.detectors import DETECTORS
from stages.core.training.job import training_key
from tests.experiment_builder import DATA

pytestmark = pytest.mark.slow


def key(data_sha256: str = "d", start_sha256: str | None = None, **changes: Any) -> str:
    register_experiments()
    settings = TrainSettings.model_validate(changes)
    config = build_experiment(DETECTORS["retinanet_mobiledet_tiny"], settings, DATA)
    return training_key(config, settings, data_sha256, start_sha256)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.01},
        {"seed": 7},
        {"early_stopping_patience": 3},
        {"max_minutes": 3.0},
        {"bfloat16_math": False},
        {"augmentation": {"mosaic": 0.5}},
        {"losses": {"box": "giou"}},
        {"data_sha256": "other"},
        {"start_sha256": "other"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_change_is_another_training(change: dict[str, Any]) -> None:
    assert key() == key()
    assert key(**change) != key()
