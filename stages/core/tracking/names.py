"""Names in MLflow's model registry. Needs no MLflow."""

import re

CHALLENGER, CHAMPION = "challenger", "champion"
"""Aliases in the registry: the latest version that passed the gate, and the one in use."""
_REFUSED = re.compile(r"[^\w.+ -]")
"""What a registered model's name cannot hold (`/`, `:`), or what a filter would have to quote."""


def registered_name(experiment: str, model: str) -> str:
    """The registered model of one file: `<experiment>-<model>-<scheme>`.

    Args:
      model: Name of the logged model, `<model>-<scheme>`.
    """
    return _REFUSED.sub("_", f"{experiment}-{model}")
