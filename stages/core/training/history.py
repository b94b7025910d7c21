"""The history of a training in progress: written line by line, so that a kill loses nothing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from stages.core.results.history import Entry, History

Kind = Literal["train", "validation"]

METRICS = {
    "AP": "ap",
    "AP50": "ap50",
    "AP75": "ap75",
    "APs": "ap_small",
    "APm": "ap_medium",
    "APl": "ap_large",
}
"""Name in Model Garden's evaluator to ours; box metrics carry no prefix there, mask metrics `mask_`."""


def to_points(metrics: dict[str, float]) -> Entry:
    """Model Garden's evaluation (fractions, -1 where undefined) as points by our names."""
    points: Entry = {}
    for prefix, ours in (("", "box"), ("mask_", "mask")):
        for name, short in METRICS.items():
            if prefix + name in metrics:
                value = float(metrics[prefix + name])
                points[f"{ours}_{short}"] = None if value < 0 else 100.0 * value
    return points


def format_ap(entry: Mapping[str, float | None]) -> str:
    """`box_ap 41.2, mask_ap 38.0`, as far as the entry has them."""
    found = [(name, entry.get(name)) for name in ("box_ap", "mask_ap")]
    return ", ".join(f"{name} {value:.1f}" for name, value in found if value is not None) or "no AP"


class HistoryLog:
    """The history of a training in progress: an append-only file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = _read_lines(path)

    @property
    def history(self) -> History:
        return History(train=tuple(self._of("train")), validation=tuple(self._of("validation")))

    @property
    def seconds(self) -> float:
        """Fitting time so far."""
        return max((float(entry.get("seconds") or 0.0) for entry in self._of("train")), default=0.0)

    def append(self, kind: Kind, entry: Entry) -> None:
        self._entries.append((kind, entry))
        with self._path.open("a") as file:
            file.write(_line(kind, entry))

    def rewind(self, step: int) -> None:
        """Forgets what comes after `step`: a resumed training goes through those steps again."""
        self._entries = [(kind, entry) for kind, entry in self._entries if (entry["step"] or 0) <= step]
        partial = self._path.with_name(self._path.name + ".partial")
        partial.write_text("".join(_line(kind, entry) for kind, entry in self._entries))
        partial.replace(self._path)

    def forget_validation(self, step: int) -> None:
        """Forgets the evaluation at one step, so that it is made again."""
        self._entries = [
            (kind, entry) for kind, entry in self._entries if not (kind == "validation" and entry["step"] == step)
        ]
        self.rewind(int(max((entry["step"] or 0 for _, entry in self._entries), default=0)))

    def _of(self, wanted: Kind) -> list[Entry]:
        return [entry for kind, entry in self._entries if kind == wanted]


def _line(kind: Kind, entry: Entry) -> str:
    return json.dumps({"kind": kind, **entry}) + "\n"


def _read_lines(path: Path) -> list[tuple[Kind, Entry]]:
    """Every whole line; a last line that a kill cut short is dropped."""
    entries: list[tuple[Kind, Entry]] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
            entries.append((entry.pop("kind"), entry))
        except (ValueError, KeyError, AttributeError):
            break
    return entries
