"""Parameters of params.yaml land where Model Garden reads them."""

from pathlib import Path

import pytest
from official.core import exp_factory

from stages.core.base.errors import ParamsError
from stages.core.detectors.build import build_model, build_task, read_experiment, register_experiments, write_experiment
from stages.core.tables.detectors import DETECTORS
from tests.experiment_builder import experiment

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model", DETECTORS)
def test_settings_reach_every_model(model: str) -> None:
    config = experiment(
        model,
        input_size=[128, 192],
        steps=900,
        batch_size=6,
        optimizer="sgd",
        learning_rate=0.03,
        momentum=0.8,
        warmup_steps=30,
        gradient_clip_norm=5,
        weight_decay=0.001,
        schedule="stepwise",
        augmentation={"horizontal_flip": False, "scale_min": 0.5, "scale_max": 1.5},
        anchors={"num_scales": 2, "aspect_ratios": [1.0, 2.0], "size": 3},
        init_checkpoint="pretrained/ckpt",
        init_modules=["backbone"],
        freeze_backbone=True,
        seed=7,
        validation_interval=300,
        checkpoint_interval=100,
        strategy="mirrored",
        resize="stretch",
        recalibrate_batch_norm=32,
    )
    task, trainer = config.task, config.trainer
    optimizer = trainer.optimizer_config
    assert task.model.input_size == [128, 192, 3]
    assert task.model.num_classes == 4  # background is class 0
    assert (task.train_data.global_batch_size, task.train_data.seed) == (6, 7)
    assert (task.train_data.parser.aug_rand_hflip, task.train_data.parser.aug_scale_max) == (False, 1.5)
    assert task.validation_data.global_batch_size == 5
    assert task.validation_data.drop_remainder is False
    if not DETECTORS[model].has_ssd_anchors:
        assert (task.model.anchor.num_scales, task.model.anchor.anchor_size) == (2, 3)
    assert (task.init_checkpoint, task.init_checkpoint_modules) == ("pretrained/ckpt", ["backbone"])
    assert (task.freeze_backbone, task.losses.l2_weight_decay) == (True, 0.001)
    assert (trainer.train_steps, trainer.validation_interval, trainer.checkpoint_interval) == (900, 300, 100)
    assert (optimizer.optimizer.sgd.momentum, optimizer.optimizer.sgd.global_clipnorm) == (0.8, 5)
    assert optimizer.learning_rate.stepwise.boundaries == [600, 800]
    assert optimizer.learning_rate.stepwise.values == pytest.approx([0.03, 0.003, 0.0003])
    assert optimizer.warmup.linear.warmup_steps == 30
    assert config.runtime.distribution_strategy == "mirrored"
    assert (task.resize, task.recalibrate_batch_norm) == ("stretch", 32)


def test_other_input_sizes_reach_the_configuration_and_its_file(tmp_path: Path) -> None:
    config = experiment(multi_scale={"sizes": [[64, 128], [128, 64]], "order": "random", "final_share": 0.25})
    write_experiment(config, tmp_path / "experiment.yaml")
    found = read_experiment(tmp_path / "experiment.yaml", DETECTORS["retinanet_mobiledet_tiny"]).task.multi_scale
    assert (found.heights, found.widths) == ([64, 128], [128, 64])
    assert (found.order, found.final_share) == ("random", 0.25)


def test_a_slow_backbone_reaches_the_configuration() -> None:
    task = experiment(init_checkpoint="a/ckpt", layer_decay=0.7, freeze_backbone_steps=20).task
    assert (task.layer_decay, task.freeze_backbone_steps) == (0.7, 20)


REGIONS = {
    "num_proposals": 90,
    "test_num_proposals": 70,
    "num_sampled_rois": 20,
    "num_sampled_masks": 5,
    "box_crop_size": 5,
    "mask_crop_size": 10,
    "sampling_ratio": 2,
}


def test_regions_reach_a_mask_rcnn() -> None:
    model = experiment("maskrcnn_tiny", regions=REGIONS).task.model
    generator = model.roi_generator
    assert (generator.num_proposals, generator.pre_nms_top_k) == (90, 180)
    assert (generator.test_num_proposals, generator.test_pre_nms_top_k) == (70, 140)
    assert (model.roi_sampler.num_sampled_rois, model.mask_sampler.num_sampled_masks) == (20, 5)
    assert (model.roi_aligner.crop_size, model.roi_aligner.sampling_ratio) == (5, 2)
    assert (model.mask_roi_aligner.crop_size, model.mask_roi_aligner.sampling_ratio) == (10, 2)


@pytest.mark.parametrize(
    ("model", "expected"),
    [("maskrcnn_tiny", (64, 32, 8)), ("maskrcnn_mobiledet", (200, 64, 16)), ("maskrcnn_resnet50", (500, 128, 32))],
)
def test_regions_that_are_not_set_are_the_models_own(model: str, expected: tuple[int, int, int]) -> None:
    config = experiment(model).task.model
    generator = config.roi_generator
    found = generator.num_proposals, config.roi_sampler.num_sampled_rois, config.mask_sampler.num_sampled_masks
    assert found == expected
    assert (generator.pre_nms_top_k, generator.test_pre_nms_top_k) == (2 * expected[0], 2 * expected[0])
    assert generator.test_num_proposals == expected[0]
    assert (config.roi_aligner.crop_size, config.mask_roi_aligner.crop_size) == (7, 14)
    assert (config.roi_aligner.sampling_ratio, config.mask_roi_aligner.sampling_ratio) == (1, 1)


@pytest.mark.parametrize(
    ("regions", "says"),
    [
        ({"num_sampled_rois": 65}, "num_sampled_rois 65 must be at most num_proposals 64"),
        ({"num_sampled_masks": 33}, "num_sampled_masks 33 must be at most num_sampled_rois 32"),
    ],
)
def test_more_samples_than_regions_are_refused(regions: dict[str, int], says: str) -> None:
    with pytest.raises(ParamsError, match=f"train.maskrcnn_tiny.regions.{says}"):
        experiment("maskrcnn_tiny", regions=regions)


@pytest.mark.parametrize(
    ("model", "width", "scale"),
    [
        ("retinanet_mobiledet_cpu", 1.0, 1.0),
        ("retinanet_mobiledet_tiny", 1.0, 0.25),
        ("retinanet_mobiledet_tiny", 0.5, 0.125),
        ("retinanet_mobilenetv2", 0.35, 0.35),
        ("maskrcnn_mobiledet", 1.5, 1.5),
    ],
)
def test_width_reaches_the_backbone(model: str, width: float, scale: float) -> None:
    assert experiment(model, width=width).task.model.backbone.get().filter_size_scale == pytest.approx(scale)


def test_random_policies_leave_masks_in_place() -> None:
    boxes = experiment(augmentation={"policy": "randaug"}).task.train_data.parser.aug_type
    masks = experiment("maskrcnn_tiny", augmentation={"policy": "randaug"}).task.train_data.parser.aug_type
    assert "Rotate" in masks.randaug.exclude_ops
    assert "Rotate" not in boxes.randaug.exclude_ops
    assert experiment().task.train_data.parser.aug_type is None


def test_adamw_decays_weights_itself() -> None:
    config = experiment(optimizer="adamw", weight_decay=0.01)
    assert config.task.losses.l2_weight_decay == 0
    assert config.trainer.optimizer_config.optimizer.adamw.weight_decay_rate == 0.01


@pytest.mark.parametrize(
    ("ema_decay", "steps", "expected"),
    [("auto", 400, 0.99), ("auto", 4000, 0.999), ("auto", 10, 0.9), ("auto", 10**6, 0.9998), (0.95, 400, 0.95)],
)
def test_the_average_follows_the_length_of_the_training(ema_decay: float | str, steps: int, expected: float) -> None:
    config = experiment(ema_decay=ema_decay, steps=steps)
    assert config.trainer.optimizer_config.ema.average_decay == pytest.approx(expected)
    assert config.trainer.optimizer_config.ema.dynamic_decay


def test_no_average_by_a_decay_of_zero() -> None:
    assert experiment(ema_decay=0).trainer.optimizer_config.ema is None


def test_every_row_is_in_model_gardens_registry() -> None:
    register_experiments()
    register_experiments()
    for name, row in DETECTORS.items():
        model = exp_factory.get_exp_config(name).task.model
        assert row.backbone.lower().startswith(model.backbone.type)


@pytest.mark.parametrize("model", [name for name, row in DETECTORS.items() if row.tiny])
def test_a_tiny_model_is_built_with_all_its_variables(model: str) -> None:
    built = build_model(experiment(model, input_size=[64, 64]))
    size = sum(variable.shape.num_elements() for variable in built.variables)
    assert 50_000 < size < 600_000
    assert {"backbone", "decoder"} <= set(built.checkpoint_items)


def test_freezing_leaves_the_heads_trainable() -> None:
    task = build_task(experiment(input_size=[64, 64], freeze_backbone=True))
    model = task.build_model()
    assert not model.backbone.trainable_variables
    assert model.head.trainable_variables
