"""Optimizer, steps, moving average, checkpoint and quantization, between `train_config` and `train` and `qat`."""

from collections.abc import Mapping
from typing import Any

from stages.core.base.errors import ForeignConfigError
from stages.core.tfod.conversion import ConfigConversion, is_placeholder
from stages.core.tfod.schedules import import_schedule, rate_at, schedule_message, schedule_values

OPTIMIZER = "train_config.optimizer"
DELAY = "graph_rewriter.quantization.delay"
OVERRIDE = "train.overrides.trainer.optimizer_config.optimizer"
WEIGHTS = "model.ssd.feature_extractor.conv_hyperparams.regularizer.l2_regularizer.weight"
MASK_WEIGHTS = "model.faster_rcnn.first_stage_box_predictor_conv_hyperparams.regularizer.l2_regularizer.weight"
ADAM_EPSILON = 1e-7
"""Of Model Garden's AdamW."""
MODULES = {"classification": "backbone", "detection": "backbone", "fine_tune": "backbone", "full": "all"}
"""`fine_tune_checkpoint_type` to `init_modules`."""


def import_training(conversion: ConfigConversion) -> None:
    """Sets everything about the training but its images.

    Raises:
      ForeignConfigError: if there is no optimizer or learning rate.
    """
    kind = conversion.one_of(OPTIMIZER)
    importers = {"momentum_optimizer": _momentum, "rms_prop_optimizer": _rms_prop, "adam_optimizer": _adam}
    if kind not in importers:
        raise ForeignConfigError(f"{conversion.name}: {OPTIMIZER}: none: expected one of {', '.join(importers)}")
    clip = conversion.number("train_config.gradient_clipping_by_norm", 0.0)
    conversion.give("train_config.gradient_clipping_by_norm", "train.gradient_clip_norm", clip)
    importers[kind](conversion, f"{OPTIMIZER}.{kind}")
    schedule = import_schedule(conversion, f"{OPTIMIZER}.{kind}")
    _import_average(conversion)
    conversion.give("train_config.batch_size", "train.batch_size", conversion.integer("train_config.batch_size", 32))
    _import_steps_and_quantization(conversion, f"{OPTIMIZER}.{kind}", schedule)
    _import_checkpoint(conversion)


def weight_path(meta: str) -> str:
    """The field that `train.weight_decay` stands for."""
    return WEIGHTS if meta == "ssd" else MASK_WEIGHTS


def _momentum(conversion: ConfigConversion, path: str) -> None:
    conversion.give(path, "train.optimizer", "sgd")
    value = conversion.number(f"{path}.momentum_optimizer_value", 0.9)
    conversion.give(f"{path}.momentum_optimizer_value", "train.momentum", value)
    _import_weight_decay(conversion)


def _rms_prop(conversion: ConfigConversion, path: str) -> None:
    conversion.give(path, "train.optimizer", "sgd", "replaced by overrides: rmsprop")
    conversion.give(path, f"{OVERRIDE}.type", "rmsprop")
    defaults = {"momentum": ("momentum_optimizer_value", 0.9), "rho": ("decay", 0.9), "epsilon": ("epsilon", 1.0)}
    for name, (field, default) in defaults.items():
        conversion.give(f"{path}.{field}", f"{OVERRIDE}.rmsprop.{name}", conversion.number(f"{path}.{field}", default))
    if clip := conversion.number("train_config.gradient_clipping_by_norm", 0.0):
        conversion.give("train_config.gradient_clipping_by_norm", f"{OVERRIDE}.rmsprop.global_clipnorm", clip)
    _import_weight_decay(conversion)


def _adam(conversion: ConfigConversion, path: str) -> None:
    conversion.give(path, "train.optimizer", "adamw", "without weight decay it is Adam")
    conversion.give(path, "train.weight_decay", 0.0)
    epsilon = conversion.number(f"{path}.epsilon", 1e-8)
    conversion.give(f"{path}.epsilon", f"{OVERRIDE}.adamw.epsilon", epsilon, write=epsilon != ADAM_EPSILON)
    weight = weight_path(conversion.counterpart.meta)
    decay = conversion.number(weight, 0.0)
    conversion.give(weight, "train.overrides.task.losses.l2_weight_decay", decay, write=decay > 0)


def _import_weight_decay(conversion: ConfigConversion) -> None:
    weight = weight_path(conversion.counterpart.meta)
    note = "one weight decay for the whole model"
    conversion.give(weight, "train.weight_decay", conversion.number(weight, 0.0), note)


def _import_average(conversion: ConfigConversion) -> None:
    if conversion.flag(f"{OPTIMIZER}.use_moving_average", True):
        decay = conversion.number(f"{OPTIMIZER}.moving_average_decay", 0.9999)
        conversion.give(f"{OPTIMIZER}.moving_average_decay", "train.ema_decay", decay)
        conversion.give(f"{OPTIMIZER}.use_moving_average", "train.ema_decay", decay)
    else:
        conversion.give(f"{OPTIMIZER}.use_moving_average", "train.ema_decay", 0.0)


def _import_steps_and_quantization(conversion: ConfigConversion, optimizer: str, schedule: str) -> None:
    steps = conversion.integer("train_config.num_steps", 0)
    quantization = conversion.find("graph_rewriter.quantization")
    delay = conversion.integer(DELAY, 500_000)
    if not steps:
        conversion.excuse("train_config.num_steps", "0 trains until it is stopped: set steps")
    if quantization is None or not 0 < delay < steps:
        if steps:
            conversion.give("train_config.num_steps", "train.steps", steps)
        if quantization is not None and delay >= steps > 0:
            conversion.excuse(DELAY, f"quantization would begin after the last of {steps} steps: never")
        elif quantization is not None:
            conversion.excuse(DELAY, "training first runs in float: see qat.steps")
            conversion.tree["schemes"] = ["qat_int8"]
        return
    conversion.tree["schemes"] = ["qat_int8"]
    conversion.give(DELAY, "train.steps", delay, "the steps before quantization")
    conversion.give("train_config.num_steps", "qat.steps", steps - delay, "the steps with quantization")
    rate = rate_at(schedule, schedule_values(conversion, optimizer, schedule), delay)
    note = "the learning rate where quantization begins"
    conversion.give(DELAY, "qat.learning_rate", float(f"{rate:.6g}"), note)
    is_cosine = schedule == "cosine_decay_learning_rate"
    conversion.give(DELAY, "qat.schedule", "cosine" if is_cosine else "constant", "" if is_cosine else "from there on")
    conversion.give(DELAY, "qat.warmup_steps", 0)


def _import_checkpoint(conversion: ConfigConversion) -> None:
    path = "train_config.fine_tune_checkpoint"
    given = conversion.text(path)
    if not given or is_placeholder(given):
        reason = "a placeholder: set init_checkpoint" if given else "no checkpoint"
        for name in ("", "_type", "_version"):
            conversion.excuse(path + name, reason)
        for name in ("from_detection_checkpoint", "load_all_detection_checkpoint_vars"):
            conversion.excuse(f"train_config.{name}", reason)
        return
    conversion.give(path, "train.init_checkpoint", given, "`train` says in one line if it cannot read this kind")
    kind = conversion.text(f"{path}_type")
    if kind:
        field = conversion.find(f"{path}_type")
        assert field is not None
        if kind not in MODULES:
            raise conversion.mistake(field, f"{path}_type", f"expected one of {', '.join(MODULES)}, found {kind!r}")
        conversion.give(f"{path}_type", "train.init_modules", [MODULES[kind]])
    else:
        everything = conversion.flag("train_config.load_all_detection_checkpoint_vars", False)
        name = "load_all_detection_checkpoint_vars" if everything else "from_detection_checkpoint"
        conversion.give(f"train_config.{name}", "train.init_modules", ["all" if everything else "backbone"])


def optimizer_message(settings: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """The API's `optimizer` for a training, but for the moving average.

    Args:
      settings: `train.<model>`, with its overrides.
      steps: Of the training.
    """
    rate = {"learning_rate": schedule_message(settings, steps)}
    tree = settings["overrides"].get("trainer", {}).get("optimizer_config", {}).get("optimizer", {})
    kind = tree.get("type", settings["optimizer"])
    details = tree.get(kind, {})
    if kind == "adamw":
        return {"adam_optimizer": {**rate, "epsilon": details.get("epsilon", ADAM_EPSILON)}}
    if kind == "rmsprop":
        names = {"momentum": "momentum_optimizer_value", "rho": "decay", "epsilon": "epsilon"}
        defaults = {"momentum": 0.0, "rho": 0.9, "epsilon": 1e-7}
        values = {field: details.get(name, defaults[name]) for name, field in names.items()}
        return {"rms_prop_optimizer": {**rate, **values}}
    return {"momentum_optimizer": {**rate, "momentum_optimizer_value": settings["momentum"]}}
