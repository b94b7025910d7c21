"""Learning rates over a training, between the API's four schedules and `learning_rate`, `schedule` and `overrides`.

The API's cosine starts at the end of its warm-up, and its steps are at any step: where the parameters have no word for
that, Model Garden's own configuration has, below `overrides.trainer.optimizer_config`. Source:
`object_detection/utils/learning_schedules.py`.
"""

import math
from collections.abc import Mapping
from typing import Any

from stages.core.tfod.conversion import ConfigConversion
from stages.core.tfod.editing import find_fields

RATE = "train.overrides.trainer.optimizer_config.learning_rate"
WARMUP = "train.overrides.trainer.optimizer_config.warmup.linear.warmup_learning_rate"
ONE_STEP = "a new rate begins one step later"


def import_schedule(conversion: ConfigConversion, optimizer: str) -> str:
    """Sets learning rate, schedule and warm-up from the message below `optimizer`; gives the schedule's kind.

    Raises:
      ForeignConfigError: if there is none.
    """
    kind = conversion.one_of(f"{optimizer}.learning_rate")
    path = f"{optimizer}.learning_rate.{kind}"
    importers = {
        "constant_learning_rate": _import_constant,
        "cosine_decay_learning_rate": _import_cosine,
        "exponential_decay_learning_rate": _import_exponential,
        "manual_step_learning_rate": _import_steps,
    }
    if kind not in importers:
        field = conversion.find(optimizer)
        assert field is not None
        raise conversion.mistake(field, optimizer, f"no learning rate: expected one of {', '.join(importers)}")
    importers[kind](conversion, path)
    return kind


def rate_at(kind: str, values: Mapping[str, Any], step: int) -> float:
    """The learning rate of the API's schedule at a step.

    Args:
      kind: Its field below `learning_rate`.
      values: As `schedule_values` gives them.
    """
    if kind == "cosine_decay_learning_rate":
        base, start, hold = values["learning_rate_base"], values["warmup_steps"], values["hold_base_rate_steps"]
        if step < start:
            return float(values["warmup_learning_rate"] + (base - values["warmup_learning_rate"]) * step / start)
        share = max(0, step - start - hold) / (values["total_steps"] - start - hold)
        return float(base * (1 + math.cos(math.pi * min(1.0, share))) / 2)
    if kind == "exponential_decay_learning_rate":
        periods = step / values["decay_steps"]
        powers = math.floor(periods) if values["staircase"] else periods
        return float(
            max(values["initial_learning_rate"] * values["decay_factor"] ** powers, values["min_learning_rate"])
        )
    if kind == "manual_step_learning_rate":
        passed = [rate for begin, rate in values["schedule"] if step >= begin]
        if not passed and values["warmup"] and values["schedule"]:
            begin, rate = values["schedule"][0]
            return float(values["initial_learning_rate"] + (rate - values["initial_learning_rate"]) * step / begin)
        return float(passed[-1] if passed else values["initial_learning_rate"])
    return float(values["learning_rate"])


def schedule_values(conversion: ConfigConversion, optimizer: str, kind: str) -> dict[str, Any]:
    """The numbers of a schedule, the API's defaults where the config has none."""
    path = f"{optimizer}.learning_rate.{kind}"
    floats = {
        "constant_learning_rate": {"learning_rate": 0.002},
        "cosine_decay_learning_rate": {"learning_rate_base": 0.002, "warmup_learning_rate": 0.0002},
        "exponential_decay_learning_rate": {
            "initial_learning_rate": 0.002,
            "decay_factor": 0.95,
            "burnin_learning_rate": 0.0,
            "min_learning_rate": 0.0,
        },
        "manual_step_learning_rate": {"initial_learning_rate": 0.002},
    }
    integers = {
        "cosine_decay_learning_rate": {"total_steps": 4_000_000, "warmup_steps": 10_000, "hold_base_rate_steps": 0},
        "exponential_decay_learning_rate": {"decay_steps": 4_000_000, "burnin_steps": 0},
    }
    values: dict[str, Any] = {key: conversion.number(f"{path}.{key}", default) for key, default in floats[kind].items()}
    values |= {key: conversion.integer(f"{path}.{key}", default) for key, default in integers.get(kind, {}).items()}
    if kind == "exponential_decay_learning_rate":
        values["staircase"] = conversion.flag(f"{path}.staircase", True)
    if kind == "manual_step_learning_rate":
        values["warmup"] = conversion.flag(f"{path}.warmup", False)
        steps = range(len(find_fields(conversion.message, f"{path}.schedule")))
        values["schedule"] = [
            (
                conversion.integer(f"{path}.schedule[{index}].step", 0),
                conversion.number(f"{path}.schedule[{index}].learning_rate", 0.002),
            )
            for index in steps
        ]
    return values


def _import_constant(conversion: ConfigConversion, path: str) -> None:
    rate = conversion.number(f"{path}.learning_rate", 0.002)
    conversion.give(f"{path}.learning_rate", "train.learning_rate", rate)
    conversion.give(path, "train.schedule", "constant")
    conversion.give(path, "train.warmup_steps", 0)


def _import_cosine(conversion: ConfigConversion, path: str) -> None:
    optimizer, _, kind = path.partition(".learning_rate.")
    values = schedule_values(conversion, optimizer, kind)
    warmup, length = values["warmup_steps"], values["total_steps"] - values["warmup_steps"]
    if length <= 0 or warmup < 0:
        field = conversion.find(path)
        assert field is not None
        raise conversion.mistake(
            field, path, f"total_steps {values['total_steps']} must be above warmup_steps {warmup}"
        )
    conversion.give(path, "train.schedule", "cosine")
    conversion.give(f"{path}.learning_rate_base", "train.learning_rate", values["learning_rate_base"])
    conversion.give(f"{path}.warmup_steps", "train.warmup_steps", warmup)
    conversion.give(f"{path}.total_steps", f"{RATE}.cosine.decay_steps", length, "counted from the end of the warm-up")
    if warmup:
        conversion.give(f"{path}.warmup_steps", f"{RATE}.cosine.offset", warmup)
        conversion.give(f"{path}.warmup_learning_rate", WARMUP, values["warmup_learning_rate"])
    if values["hold_base_rate_steps"]:
        conversion.excuse(f"{path}.hold_base_rate_steps", "the cosine begins at once after the warm-up")


def _import_exponential(conversion: ConfigConversion, path: str) -> None:
    optimizer, _, kind = path.partition(".learning_rate.")
    values = schedule_values(conversion, optimizer, kind)
    rate = values["initial_learning_rate"]
    conversion.give(f"{path}.initial_learning_rate", "train.learning_rate", rate)
    conversion.give(f"{path}.initial_learning_rate", f"{RATE}.exponential.initial_learning_rate", rate)
    conversion.give(path, "train.schedule", "constant", "replaced by overrides: exponential")
    conversion.give(path, "train.warmup_steps", 0)
    conversion.give(path, f"{RATE}.type", "exponential")
    for key, name in (("decay_steps", "decay_steps"), ("decay_factor", "decay_rate"), ("staircase", "staircase")):
        conversion.give(f"{path}.{key}", f"{RATE}.exponential.{name}", values[key])


def _import_steps(conversion: ConfigConversion, path: str) -> None:
    optimizer, _, kind = path.partition(".learning_rate.")
    values = schedule_values(conversion, optimizer, kind)
    rates = [values["initial_learning_rate"], *(rate for _, rate in values["schedule"])]
    begins = [begin for begin, _ in values["schedule"]]
    if begins != sorted(set(begins)) or (begins and begins[0] <= 0):
        field = conversion.find(path)
        assert field is not None
        raise conversion.mistake(field, path, f"steps must grow from above 0, found {begins}")
    warmup = begins[0] if begins and values["warmup"] else 0
    if warmup:
        conversion.give(f"{path}.initial_learning_rate", WARMUP, rates[0])
        rates, begins = rates[1:], begins[1:]
    conversion.give(f"{path}.initial_learning_rate" if not warmup else path, "train.learning_rate", rates[0])
    conversion.give(f"{path}.warmup", "train.warmup_steps", warmup)
    conversion.give(path, "train.schedule", "stepwise" if begins else "constant")
    if begins:
        conversion.give(f"{path}.schedule", f"{RATE}.stepwise.boundaries", begins, ONE_STEP, whole=True)
        conversion.give(f"{path}.schedule", f"{RATE}.stepwise.values", rates, whole=True)


def schedule_message(settings: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """The API's `learning_rate` message for a training.

    Args:
      settings: `train.<model>`, with its overrides.
      steps: Of the training.
    """
    rate, warmup, tree = settings["learning_rate"], settings["warmup_steps"], _optimizer_config(settings)
    found = tree.get("learning_rate", {})
    start = tree.get("warmup", {}).get("linear", {}).get("warmup_learning_rate", rate / 100)
    kind = found.get("type", settings["schedule"])
    details = found.get(kind, {})
    if kind == "exponential":
        names = {"initial_learning_rate": rate, "decay_steps": steps, "decay_rate": 0.95, "staircase": True}
        values = {name: details.get(name, default) for name, default in names.items()}
        values["decay_factor"] = values.pop("decay_rate")
        return {"exponential_decay_learning_rate": values}
    if kind == "cosine":
        length = details.get("decay_steps", steps - warmup) + warmup
        values = {"learning_rate_base": rate, "total_steps": length, "warmup_steps": warmup}
        return {"cosine_decay_learning_rate": {**values, "warmup_learning_rate": start if warmup else 0.0}}
    if kind == "stepwise":
        begins = details.get("boundaries", [steps * 2 // 3, steps * 8 // 9])
        rates = details.get("values", [rate, rate / 10, rate / 100])
    else:
        begins, rates = [], [rate]
    if not begins and not warmup:
        return {"constant_learning_rate": {"learning_rate": rate}}
    if warmup:
        begins, rates = [warmup, *begins], [start, *rates]
    jumps = [{"step": begin, "learning_rate": value} for begin, value in zip(begins, rates[1:], strict=True)]
    message: dict[str, Any] = {"initial_learning_rate": rates[0], "schedule": jumps}
    return {"manual_step_learning_rate": {**message, **({"warmup": True} if warmup else {})}}


def _optimizer_config(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    tree: Mapping[str, Any] = settings["overrides"].get("trainer", {}).get("optimizer_config", {})
    return tree
