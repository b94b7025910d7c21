"""Losses and AP of a training by step, as `history.json` holds them.

`history.json` is `{"train": [...], "validation": [...]}`. Every entry has `step`. Train entries hold the mean losses
since the previous entry, `learning_rate`, `images_per_second` and `seconds` (fitting time so far, over all resumes);
validation entries hold `box_ap`, `mask_ap` and so on in points (None where no object of that kind exists).
"""

from dataclasses import dataclass
from pathlib import Path

from stages.core.base.jsonfile import read_json, write_json

Entry = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class History:
    """Both lists, in step order."""

    train: tuple[Entry, ...] = ()
    validation: tuple[Entry, ...] = ()


def read_history(path: Path) -> History:
    """Reads history.json.

    Raises:
      MissingResultError, ArtifactError: if it is missing or damaged.
    """
    return read_json(History, path)


def write_history(history: History, path: Path) -> None:
    """Writes history.json."""
    write_json(history, path)
