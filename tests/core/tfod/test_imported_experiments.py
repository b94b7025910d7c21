"""What an import writes means in Model Garden what it meant in the API: overrides, schedules, constants."""

from typing import Any

import pytest
from api_config import LEARNING_RATES, MASK_RCNN, OPTIMIZERS, SSD, with_optimizer
from experiment_builder import DATA
from official.modeling import optimization
from tf1_files import SAMPLES, needs_samples

from stages.core.detectors.build import ARCHITECTURES, build_experiment
from stages.core.params.training import SsdAnchorParams
from stages.core.params.tree import parse_params
from stages.core.tables.detectors import DETECTORS, Family
from stages.core.tfod import augmentations, heads
from stages.core.tfod.conversion import ConfigConversion
from stages.core.tfod.editing import find_fields
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
    assert (task.losses.focal_loss_alpha, task.losses.huber_loss_delta, task.losses.box_loss_weight) == (0.75, 1.0, 1)
    task = imported(MASK_RCNN).task
    assert task.model.roi_sampler.num_sampled_rois == 64


ROWS = {
    Family.RETINANET: "retinanet_mobilenetv2",
    Family.SSDLITE: "ssdlite_mobiledet_dsp",
    Family.MASKRCNN: "maskrcnn_resnet50",
}


@pytest.mark.parametrize("family", heads.PAIRS)
def test_what_a_row_has_by_itself_is_known(family: Family) -> None:
    row = ROWS[family]
    config = built({"models": [row], "schemes": ["int8"]}).as_dict()
    for pair in heads.PAIRS[family]:
        if pair.row is not None:
            key = pair.parameter.removeprefix("train.overrides.").replace("train.regions", "task.model.roi_sampler")
            if key == "export.num_proposals":  # null: as in training's evaluations
                key = "task.model.roi_generator.test_num_proposals"
            assert look_up(config, key) == pair.row, pair.parameter
    if family in heads.ROW_LOSSES:
        losses, known = config["task"]["losses"], heads.ROW_LOSSES[family]
        assert (losses["huber_loss_delta"], losses["box_loss_weight"]) == (known.delta, known.weight)
        coder = config["task"]["model"]["detection_generator"]["box_coder_weights"]
        assert tuple(coder or [1.0] * 4) == known.coder


@needs_samples
@pytest.mark.parametrize("model", [name for name in DETECTORS if name.startswith("ssdlite_mobiledet_")])
def test_a_row_is_what_the_published_config_says(model: str) -> None:
    (path,) = (SAMPLES / "pipeline_configs").glob(f"{model}_*.config")
    text = path.read_text()
    tree = convert_config(text, path.name).tree
    (row,) = tree["models"]
    train = tree["train"][row]
    assert (row, train["input_size"], train["resize"]) == (model, [320, 320], "stretch")
    assert SsdAnchorParams.model_validate(train["ssd_anchors"]) == SsdAnchorParams()
    assert "task" not in train.get("overrides", {})  # the row has the losses, the matching and the box codes by itself
    row_config = exp_config(model)
    assert row_config.task.augmentation.random_crop == train["augmentation"]["random_crop"]
    assert row_config.task.train_data.parser.aug_rand_hflip == train["augmentation"]["horizontal_flip"]

    message, config = parse_text(text), row_config.task.model
    for part in ("feature_extractor", "box_predictor.convolutional_box_predictor"):
        norm = f"model.ssd.{part}.conv_hyperparams.batch_norm"
        assert value_of(message, f"{norm}.decay") == config.norm_activation.norm_momentum
        assert value_of(message, f"{norm}.epsilon") == config.norm_activation.norm_epsilon
    bias = "model.ssd.box_predictor.convolutional_box_predictor.class_prediction_bias_init"
    assert value_of(message, bias) == config.class_bias
    suppression = "model.ssd.post_processing.batch_non_max_suppression"
    assert value_of(message, f"{suppression}.iou_threshold") == config.detection_generator.nms_iou_threshold


def exp_config(model: str) -> Any:
    return ARCHITECTURES[DETECTORS[model].family](DETECTORS[model])


def value_of(message: Any, path: str) -> float:
    (field,) = find_fields(message, path)
    return float(field.value)


def test_color_strengths_are_those_of_the_table() -> None:
    assert augmentations.COLOR_STRENGTHS == COLOR_STRENGTHS
