"""Weights that are not made: the `result.json` that says so, and what later stages read from it."""

from pathlib import Path

from stages.core.base.folders import replaced_folder
from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import RESULT_FILE
from stages.core.results.kinds import Variant
from stages.core.results.status import Status
from stages.core.results.training import TrainResult


def write_not_needed(folder: Path, model: str, variant: Variant, *, reason: str) -> None:
    """Replaces a folder by one that holds only a result.json with status `not_applicable`."""
    result = TrainResult(
        model=model,
        variant=variant,
        checkpoint="",
        checkpoint_sha256="",
        num_classes=0,
        input_size=(0, 0),
        steps=0,
        best_step=0,
        stopped_early=False,
        validation={},
        data_sha256="",
        config_sha256="",
        seconds=0.0,
        versions={},
        status=Status.NOT_APPLICABLE,
        reason=reason,
    )
    with replaced_folder(folder) as partial:
        write_json(result, partial / RESULT_FILE)


def read_not_needed(folder: Path) -> TrainResult | None:
    """What `write_not_needed` left in a folder; None where there is a model."""
    path = folder / RESULT_FILE
    result = read_json(TrainResult, path) if path.is_file() else None
    return result if result is not None and result.status is Status.NOT_APPLICABLE else None
