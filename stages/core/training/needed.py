"""What `train`, `prune` and `qat` do for a model that needs no such weights."""

from stages.core.base.errors import ParamsError
from stages.core.base.layout import Layout
from stages.core.params.needed import why_not_needed
from stages.core.params.tree import Params
from stages.core.results.kinds import Variant
from stages.core.results.not_needed import write_not_needed


def skip_if_not_needed(params: Params, layout: Layout, model: str, variant: Variant) -> bool:
    """Whether these weights are not needed; the reason is then printed, and written where they would be.

    Raises:
      ParamsError: if a brought model has no section below `train`.
    """
    if model in params.brought and model not in params.train:
        raise ParamsError(
            f"params.yaml: train.{model} is missing; DVC watches it for every model: write `{model}: {{}}` there"
        )
    reason = why_not_needed(params, model, variant)
    if reason:
        write_not_needed(layout.variant(model, variant), model, variant, reason=reason)
        print(f"{model}: no {variant} weights: {reason}")
    return bool(reason)
