"""Training curves: the history of a training, number by number."""

import math
from dataclasses import dataclass
from pathlib import Path

from stages.core.base.errors import MissingResultError
from stages.core.results.history import Entry, read_history


@dataclass(frozen=True)
class Curve:
    """One number over the optimizer's steps.

    Attributes:
      name: e.g. `train/total_loss`, `validation/box_ap`.
      points: (step, value), steps ascending, values finite.
    """

    name: str
    points: tuple[tuple[int, float], ...]

    @property
    def is_loss(self) -> bool:
        return "loss" in self.name

    @property
    def is_total_loss(self) -> bool:
        return self.name.endswith("/total_loss")

    @property
    def is_ap(self) -> bool:
        return self.name.endswith(("/box_ap", "/mask_ap"))


def read_curves(path: Path) -> tuple[Curve, ...]:
    """Every number in a history file as a curve; none where there is no such file.

    A value that is not a finite number leaves a gap.

    Raises:
      ArtifactError: if the file is damaged.
    """
    try:
        history = read_history(path)
    except MissingResultError:
        return ()
    return (*entries_to_curves("train", history.train), *entries_to_curves("validation", history.validation))


def entries_to_curves(group: str, entries: tuple[Entry, ...]) -> tuple[Curve, ...]:
    """One curve per number that the entries hold, called `<group>/<number>`."""
    curves: dict[str, dict[int, float]] = {}
    for entry in entries:
        step = entry.get("step")
        for name, value in entry.items():
            if step is not None and name != "step" and value is not None and math.isfinite(value):
                curves.setdefault(f"{group}/{name}", {})[int(step)] = float(value)
    return tuple(Curve(name, tuple(sorted(points.items()))) for name, points in curves.items())
