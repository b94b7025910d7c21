"""Every training that took place, with its curves: the first of each model, and what was trained on from it."""

from collections.abc import Mapping, Sequence

from stages.core.base.layout import HISTORY_FILE, RESULT_FILE, Layout
from stages.core.reporting.collect import read_training
from stages.core.reporting.curves import Curve, read_curves
from stages.core.results.kinds import SOURCES
from stages.core.results.status import Status
from stages.core.results.training import TrainResult


def read_trainings(layout: Layout, models: Sequence[str]) -> dict[str, TrainResult]:
    """Every training that took place: `<model>`, and `<model> <variant>` for what was trained on from it."""
    found: dict[str, TrainResult] = {}
    for model in models:
        first = read_training(layout, model)
        if first.status is not Status.OK:  # a brought model
            continue
        found[model] = first
        for variant in SOURCES:
            # Stages for weights that no scheme asks for may not have run, or have said so.
            if (layout.variant(model, variant) / RESULT_FILE).is_file():
                result = read_training(layout, model, variant)
                if result.status is Status.OK:
                    found[f"{model} {variant}"] = result
    return found


def read_training_curves(layout: Layout, trainings: Mapping[str, TrainResult]) -> dict[str, tuple[Curve, ...]]:
    """The history of each training, by the same names."""
    return {
        name: read_curves(layout.variant(result.model, result.variant) / HISTORY_FILE)
        for name, result in trainings.items()
    }
