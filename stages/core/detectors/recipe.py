"""How any detector is trained: `TrainSettings` and the data, written into a Model Garden configuration.

The families (`retinanet.py`, `maskrcnn.py`) state the architecture; everything they share about data, optimizer,
schedule and intervals is stated here, in Model Garden's own configuration classes.
"""

from typing import Any

from official.core import config_definitions as cfg
from official.modeling import optimization
from official.vision.configs import common

from stages.core.detectors.backbone import apply_width
from stages.core.detectors.data import TrainingData
from stages.core.params.averaging import average_decay
from stages.core.params.training import AnchorParams, TrainSettings

EVALUATION_BATCH = 8
EVALUATION_SCORE_THRESHOLD = 0.001
"""Lowest score of a detection in training's evaluations: what `export` leaves out is measured against these."""
SHUFFLE_BUFFER = 1000
"""Encoded images held for shuffling: enough to mix shards, small enough for any machine."""
STEPS_PER_LOOP = 5
"""Steps between looks at signals, losses and the progress bar."""
SPATIAL_OPS = ["Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY", "Cutout"]
"""RandAugment's operations that would move pixels away from their masks."""


def norm_activation(*, momentum: float = 0.9) -> common.NormActivation:
    """Batch norm for short trainings: with momentum 0.99 the moving averages would lag a run of a thousand steps."""
    return common.NormActivation(activation="relu", norm_momentum=momentum, norm_epsilon=0.001, use_sync_bn=False)


def apply_settings(config: cfg.ExperimentConfig, settings: TrainSettings, data: TrainingData) -> None:
    """Writes data, augmentation, width, optimizer and intervals into `config`, in place."""
    task = config.task
    task.model.num_classes = data.num_classes + 1
    task.model.input_size = [*settings.input_size, 3]
    apply_width(task.model.backbone, settings.width)
    task.annotation_file = data.val_annotations
    task.init_checkpoint = settings.init_checkpoint
    task.init_checkpoint_modules = "all" if "all" in settings.init_modules else list(settings.init_modules)
    task.freeze_backbone = settings.freeze_backbone
    task.resize = settings.resize
    _apply_phases(task, settings)
    _apply_data(task, settings, data)
    _apply_trainer(config, settings)


def apply_pyramid_anchors(anchor: Any, params: AnchorParams) -> None:
    """Writes the anchors of a pyramid into `task.model.anchor`, in place."""
    anchor.num_scales = params.num_scales
    anchor.aspect_ratios = list(params.aspect_ratios)
    anchor.anchor_size = params.size


def apply_refinement(config: cfg.ExperimentConfig, settings: TrainSettings, data: TrainingData) -> None:
    """Writes data, optimizer and intervals into the configuration of finished training, in place, for one that goes on
    from its weights; architecture, losses and augmentation stay."""
    task = config.task
    task.annotation_file = data.val_annotations
    task.init_checkpoint = None
    _apply_phases(task, settings)
    _apply_records(task, settings, data)
    _apply_trainer(config, settings)


def _apply_phases(task: Any, settings: TrainSettings) -> None:
    """What is different in the backbone, in the first steps, or at the end, input sizes included."""
    task.layer_decay = settings.layer_decay
    task.freeze_backbone_steps = settings.freeze_backbone_steps
    task.recalibrate_batch_norm = settings.recalibrate_batch_norm
    config, params = task.multi_scale, settings.multi_scale
    config.heights, config.widths = ([size[side] for size in params.sizes] for side in (0, 1))
    config.order, config.final_share = params.order, params.final_share


def _apply_trainer(config: cfg.ExperimentConfig, settings: TrainSettings) -> None:
    # AdamW decays weights itself; for SGD the decay is a part of the loss.
    config.task.losses.l2_weight_decay = settings.weight_decay if settings.optimizer == "sgd" else 0.0
    config.trainer = trainer_config(settings, best_metric=config.trainer.best_checkpoint_eval_metric)
    config.runtime = cfg.RuntimeConfig(distribution_strategy=settings.strategy, mixed_precision_dtype="float32")


def _apply_data(task: Any, settings: TrainSettings, data: TrainingData) -> None:
    train, val = task.train_data, task.validation_data
    _apply_records(task, settings, data)
    train.is_training, val.is_training = True, False
    train.drop_remainder, val.drop_remainder = True, False
    train.dtype = val.dtype = "float32"
    train.deterministic = val.deterministic = True
    train.shuffle_buffer_size = SHUFFLE_BUFFER
    train.parser.aug_rand_hflip = settings.augmentation.horizontal_flip
    train.parser.aug_scale_min = settings.augmentation.scale_min
    train.parser.aug_scale_max = settings.augmentation.scale_max
    _apply_methods(task, settings)


def _apply_methods(task: Any, settings: TrainSettings) -> None:
    """What `training_config` adds to Model Garden's configuration, under the names of the parameters."""
    for config, params in ((task.augmentation, settings.augmentation), (task.methods, settings.losses)):
        for name in vars(config).keys() & type(params).model_fields.keys():
            setattr(config, name, getattr(params, name))
    task.image_cache_mb = settings.image_cache_mb
    task.sampling, task.sampling_threshold = settings.sampling, settings.sampling_threshold


def _apply_records(task: Any, settings: TrainSettings, data: TrainingData) -> None:
    train, val = task.train_data, task.validation_data
    train.input_path, val.input_path = data.train_records, data.val_records
    train.global_batch_size, val.global_batch_size = settings.batch_size, min(EVALUATION_BATCH, data.num_val)
    train.seed = val.seed = settings.seed


def trainer_config(settings: TrainSettings, *, best_metric: str) -> cfg.TrainerConfig:
    """Model Garden's trainer section. `best_metric` is the evaluator's name of the AP that picks the checkpoint."""
    return cfg.TrainerConfig(
        train_steps=settings.steps,
        steps_per_loop=STEPS_PER_LOOP,
        summary_interval=STEPS_PER_LOOP,
        checkpoint_interval=settings.checkpoint_interval,
        max_to_keep=3,
        validation_interval=settings.validation_interval,
        validation_steps=-1,
        best_checkpoint_export_subdir="best",
        best_checkpoint_eval_metric=best_metric,
        best_checkpoint_metric_comp="higher",
        # A loss that is not finite ends the training with advice instead of an endless restore.
        recovery_max_trials=-1,
        optimizer_config=optimization.OptimizationConfig(optimizer_tree(settings)),
    )


def optimizer_tree(settings: TrainSettings) -> dict[str, Any]:
    """Model Garden's `OptimizationConfig` as a dict: optimizer, schedule, warm-up and moving average."""
    clip = settings.gradient_clip_norm or None
    optimizers = {
        "sgd": {"momentum": settings.momentum, "global_clipnorm": clip},
        "adamw": {
            "weight_decay_rate": settings.weight_decay,
            "exclude_from_weight_decay": ["bias", "beta", "gamma"],
            "gradient_clip_norm": settings.gradient_clip_norm,
        },
    }
    tree: dict[str, Any] = {
        "optimizer": {"type": settings.optimizer, settings.optimizer: optimizers[settings.optimizer]},
        "learning_rate": {"type": settings.schedule, settings.schedule: _schedules(settings)[settings.schedule]},
    }
    if settings.warmup_steps:
        linear = {"warmup_steps": settings.warmup_steps, "warmup_learning_rate": settings.learning_rate / 100}
        tree["warmup"] = {"type": "linear", "linear": linear}
    if decay := choose_ema_decay(settings):
        tree["ema"] = {"average_decay": decay, "trainable_weights_only": False}
    return tree


def choose_ema_decay(settings: TrainSettings) -> float:
    """The decay of the moving average; 0 for none. `auto`: see `average_decay`."""
    if settings.ema_decay != "auto":
        return settings.ema_decay
    return average_decay(settings.steps)


def _schedules(settings: TrainSettings) -> dict[str, dict[str, Any]]:
    rate, steps = settings.learning_rate, settings.steps
    return {
        "cosine": {"initial_learning_rate": rate, "decay_steps": steps, "alpha": settings.learning_rate_floor},
        "constant": {"learning_rate": rate},
        "stepwise": {"boundaries": [steps * 2 // 3, steps * 8 // 9], "values": [rate, rate / 10, rate / 100]},
    }


def augmentation_policy(policy: str, *, autoaug_name: str, spatial: bool) -> common.Augmentation | None:
    """Model Garden's AutoAugment or RandAugment; None for `none`.

    Args:
      policy: none, autoaug or randaug.
      autoaug_name: Which of AutoAugment's published policies.
      spatial: Whether operations may move pixels (the parser then moves the boxes with them).
    """
    policies = {
        "autoaug": lambda: common.AutoAugment(augmentation_name=autoaug_name),
        "randaug": lambda: common.RandAugment(exclude_ops=["Cutout"] if spatial else SPATIAL_OPS),
    }
    if policy not in policies:
        return None
    return common.Augmentation(type=policy, **{policy: policies[policy]()})
