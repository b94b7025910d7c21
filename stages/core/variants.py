"""Which weights come from which, and which of them the schemes in use need."""

import shutil
from pathlib import Path

from stages.core.jsonfile import read_json, write_json
from stages.core.layout import Layout
from stages.core.params.tree import Params
from stages.core.results.status import Status
from stages.core.results.training import TrainResult
from stages.core.schemes import SCHEMES, Variant

SOURCES: dict[Variant, Variant] = {
    Variant.PRUNED: Variant.TRAINED,
    Variant.QAT: Variant.TRAINED,
    Variant.PRUNED_QAT: Variant.PRUNED,
}
"""What each later training starts from."""


def why_unneeded(params: Params, model: str, variant: Variant) -> str:
    """Why these weights of this model are not made; empty if they are."""
    if variant is Variant.TRAINED:
        return ""
    for section, settings, parts in (
        ("prune", params.prune, (Variant.PRUNED, Variant.PRUNED_QAT)),
        ("qat", params.qat, (Variant.QAT, Variant.PRUNED_QAT)),
    ):
        if variant in parts and settings.models is not None and model not in settings.models:
            return f"{section}.models does not list {model} (params.yaml: {', '.join(settings.models) or 'none'})"
    # Pruned weights are also what pruned_qat starts from.
    users = {variant} | {later for later, source in SOURCES.items() if source is variant}
    sources = {SCHEMES[name].source for name in params.schemes}
    if users & sources:
        return ""
    return f"no scheme in use starts from {variant} weights (schemes: {', '.join(params.schemes)})"


def skip_unneeded(params: Params, layout: Layout, model: str, variant: Variant) -> bool:
    """Whether these weights are not needed: then that is said, on the terminal and in their place."""
    reason = why_unneeded(params, model, variant)
    if reason:
        write_unneeded(layout.variant(model, variant), model, variant, reason=reason)
        print(f"{model}: no {variant} weights: {reason}")
    return bool(reason)


def write_unneeded(folder: Path, model: str, variant: Variant, *, reason: str) -> None:
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
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(result, folder / "result.json")


def read_unneeded(folder: Path) -> TrainResult | None:
    """What `write_unneeded` left in a folder; None where there is a model."""
    path = folder / "result.json"
    result = read_json(TrainResult, path) if path.is_file() else None
    return result if result is not None and result.status is Status.NOT_APPLICABLE else None
