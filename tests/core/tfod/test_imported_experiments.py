"""What an import writes means in Model Garden what it meant in the API: overrides, schedules, constants."""

from typing import Any

import pytest
from api_config import LEARNING_RATES, MASK_RCNN, OPTIMIZERS, SSD, with_optimizer
from experiment_builder import DATA
from official.modeling import optimization

from stages.core.detectors.build import build_experiment
from stages.core.params.tree import parse_params
from stages.core.tables.detectors import DETECTORS
from stages.core.tfod import augmentations, heads
from stages.core.tfod.conversion import ConfigConversion
from stages.core.tfod.families import COUNTERPARTS
from stages.core.tfod.import_config import convert_config
from stages.core.tfod.schedules import rate_at, schedule_values
from stages.core.tfod.textformat import parse_text
from stages.core.tfod.topics import look_up
from stages.core.training.augmenting.table import COLOR_STRENGTHS

pytestmark = pytest.mark.slow

KINDS = {name: text.split()[0] for name, text in LEARNING_RATES.items()}


def imported(text: str) -> Any:
    return built(convert_config(text, "it.config").tree)


def built(tree: dict[str, Any]) -> Any:
    params = parse_params(tree)
    (row,) = params.models
    return build_experiment(DETECTORS[row], params.train_settings(row), DATA)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize("name", sorted(LEARNING_RATES))
def test_learning_rates_are_the_apis(name: str, optimizer: str) -> None:
    text = with_optimizer(name, optimizer)
    config = imported(text).trainer.optimizer_config
    schedule = optimization.OptimizerFactory(config).build_learning_rate()
    read = ConfigConversion(parse_text(text), "it", COUNTERPARTS[0])
    values = schedule_values(read, f"train_config.optimizer.{optimizer}", KINDS[name])
    # Not at the steps where the rate jumps: there Model Garden's begins one step later.
    for step in (0, 7, 50, 99, 101, 350, 500, 790, 810, 999):
        rate = float(schedule(step)) if callable(schedule) else schedule
        assert rate == pytest.approx(rate_at(KINDS[name], values, step), rel=1e-4, abs=1e-9), step


def test_overrides_are_model_gardens() -> None:
    task = imported(SSD).task
    assert task.model.detection_generator.box_coder_weights == [10.0, 10.0, 5.0, 5.0]
    assert (task.losses.focal_loss_alpha, task.losses.huber_loss_delta, task.losses.box_loss_weight) == (0.75, 1.0, 1.0)
    task = imported(MASK_RCNN).task
    assert task.model.roi_sampler.num_sampled_rois == 64


@pytest.mark.parametrize("meta", sorted(heads.PAIRS))
def test_what_a_row_has_by_itself_is_known(meta: str) -> None:
    row = {"ssd": "retinanet_mobiledet_dsp", "faster_rcnn": "maskrcnn_resnet50"}[meta]
    config = built({"models": [row], "schemes": ["int8"]}).as_dict()
    for pair in heads.PAIRS[meta]:
        if pair.row is not None:
            key = pair.parameter.removeprefix("train.overrides.").replace("train.regions", "task.model.roi_sampler")
            assert look_up(config, key) == pair.row, pair.parameter
    if meta == "ssd":
        losses = config["task"]["losses"]
        assert (losses["huber_loss_delta"], losses["box_loss_weight"]) == (heads.ROW_DELTA, heads.ROW_BOX_WEIGHT)


def test_color_strengths_are_those_of_the_table() -> None:
    assert augmentations.COLOR_STRENGTHS == COLOR_STRENGTHS
