"""Names that could have been meant."""

import difflib
from collections.abc import Sequence

SHOWN = 5
"""How many names a message lists."""


def nearest_names(name: str, names: Sequence[str]) -> list[str]:
    """Names that look like one, the best first: by last part of the path, then by the whole."""
    tail = name.rpartition("/")[2].lower()
    same_tail = [known for known in names if known.rpartition("/")[2].lower() == tail]
    close = difflib.get_close_matches(name, names, n=SHOWN, cutoff=0.5)
    return list(dict.fromkeys([*close, *same_tail]))[:SHOWN]
