"""Names in params.yaml, checked against a table."""

import difflib
from typing import Any

from stages.core.tables.detectors import RENAMED_DETECTORS


def check_name(name: str, kind: str, known: Any) -> None:
    """Raises ValueError naming the alternatives unless `name` is one of `known`."""
    if name not in known:
        renamed = RENAMED_DETECTORS.get(name)
        if renamed in known:
            raise ValueError(f"{kind} {name!r} is called {renamed!r} now")
        near = difflib.get_close_matches(name, list(known), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {kind} {name!r}{hint} (known: {', '.join(known)})")


def check_names(names: tuple[str, ...], kind: str, known: Any) -> tuple[str, ...]:
    """`check_name` for each, and no name twice."""
    for name in names:
        check_name(name, kind, known)
        if names.count(name) > 1:
            raise ValueError(f"{kind} {name!r} is listed twice")
    return names
