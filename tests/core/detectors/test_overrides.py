"""Overrides reach everything and forgive nothing."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import pytest

from stages.core.base.errors import ArtifactError, ParamsError
from stages.core.detectors.build import read_experiment, write_experiment
from stages.core.tables.detectors import DETECTORS
from tests.experiment_builder import experiment

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Wrong:
    id: str
    overrides: dict[str, Any]
    says: tuple[str, ...]


WRONG = [
    Wrong("section", {"tasks": {}}, ("overrides.tasks: unknown key", "'task'", "known: runtime, task, trainer")),
    Wrong("key", {"task": {"modle": {}}}, ("overrides.task.modle", "did you mean 'model'?", "losses", "train_data")),
    Wrong("deep", {"task": {"model": {"head": {"num_conv": 2}}}}, ("overrides.task.model.head.num_conv", "num_convs")),
    Wrong("below-one-of", {"task": {"model": {"backbone": {"resnets": {}}}}}, ("backbone.resnets", "resnet")),
    Wrong(
        "below-an-absent-section",
        {"task": {"train_data": {"parser": {"aug_rand_jpeg": {"quality": 3}}}}},
        ("aug_rand_jpeg.quality", "known: max_quality, min_quality, prob_to_apply"),
    ),
    Wrong("text-for-number", {"trainer": {"max_to_keep": "many"}}, ("max_to_keep: expected a whole number", "'many'")),
    Wrong("fraction-for-count", {"trainer": {"max_to_keep": 2.5}}, ("max_to_keep: expected a whole number",)),
    Wrong("number-for-section", {"task": {"model": 3}}, ("task.model: expected a mapping, found 3",)),
    Wrong("mapping-for-number", {"trainer": {"train_steps": {"a": 1}}}, ("train_steps: expected a whole number",)),
    Wrong("truth-for-number", {"task": {"losses": {"loss_weight": True}}}, ("loss_weight: expected a number",)),
]


@pytest.mark.parametrize("case", WRONG, ids=attrgetter("id"))
def test_a_wrong_override_names_its_path_and_the_known_keys(case: Wrong) -> None:
    with pytest.raises(ParamsError) as caught:
        experiment(overrides=case.overrides)
    message = str(caught.value)
    assert message.startswith("params.yaml: train.retinanet_mobiledet_tiny.overrides")
    assert "\n" not in message
    for part in case.says:
        assert part in message


def test_overrides_win_over_the_settings() -> None:
    config = experiment(
        steps=10,
        optimizer="sgd",
        overrides={
            "trainer": {"train_steps": 7, "optimizer_config": {"optimizer": {"sgd": {"nesterov": True}}}},
            "task": {"model": {"head": {"num_convs": 3}}, "losses": {"focal_loss_gamma": 2}},
        },
    )
    assert config.trainer.train_steps == 7
    assert config.trainer.optimizer_config.optimizer.sgd.nesterov is True
    assert config.trainer.optimizer_config.optimizer.sgd.momentum == 0.9
    assert config.task.model.head.num_convs == 3
    assert config.task.losses.focal_loss_gamma == 2


@pytest.mark.parametrize("model", DETECTORS)
def test_every_row_travels_through_yaml(model: str, tmp_path: Any) -> None:
    config = experiment(model, ema_decay=0.9, optimizer="adamw", augmentation={"policy": "randaug"})
    write_experiment(config, tmp_path / "experiment.yaml")
    assert read_experiment(tmp_path / "experiment.yaml", DETECTORS[model]).as_dict() == config.as_dict()


def test_a_configuration_of_another_family_is_refused(tmp_path: Any) -> None:
    write_experiment(experiment("retinanet_mobiledet_tiny"), tmp_path / "experiment.yaml")
    with pytest.raises(ArtifactError, match="maskrcnn"):
        read_experiment(tmp_path / "experiment.yaml", DETECTORS["maskrcnn_tiny"])
