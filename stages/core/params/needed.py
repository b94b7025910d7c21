"""Which refinements the schemes in use need."""

from stages.core.params.tree import Params
from stages.core.results.kinds import SOURCES, Variant
from stages.core.tables.schemes import SCHEMES


def why_not_needed(params: Params, model: str, variant: Variant) -> str:
    """Why these weights of this model are not made; empty if they are."""
    if model in params.brought:
        return f"{model} was brought as it is ({params.brought[model].kind}): nothing is trained"
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
