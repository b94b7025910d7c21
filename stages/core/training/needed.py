"""Which refinements the schemes in use need."""

from stages.core.base.layout import Layout
from stages.core.params.tree import Params
from stages.core.results.kinds import SOURCES, Variant
from stages.core.results.not_needed import write_not_needed
from stages.core.tables.schemes import SCHEMES


def why_not_needed(params: Params, model: str, variant: Variant) -> str:
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


def skip_if_not_needed(params: Params, layout: Layout, model: str, variant: Variant) -> bool:
    """Whether these weights are not needed; the reason is then printed, and written where they would be."""
    reason = why_not_needed(params, model, variant)
    if reason:
        write_not_needed(layout.variant(model, variant), model, variant, reason=reason)
        print(f"{model}: no {variant} weights: {reason}")
    return bool(reason)
