"""Champion and challenger on the same images, in turns: AP of both with a paired bootstrap, and time per image."""

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import track

from stages.core.base.errors import ArtifactError, InferenceError
from stages.core.datasets.prepared import PreparedSplit, load_image
from stages.core.results.validation import Interval
from stages.core.running.artifact import Artifact
from stages.core.running.isolated import IsolatedRunner
from stages.core.validating.bootstrap import measure_intervals
from stages.core.validating.coco_ap import CocoResults, compared_to_ap
from stages.core.validating.coco_matching import Comparison

WARMUP = 3
"""Images that both files run before any is timed."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Points of AP that the challenger has less than the champion; negative: it is better.

    Attributes:
      kind: box or mask.
      champion, challenger: AP in points; None where no object of the split is of a class that the files know.
      interval: Where the loss lies on other images, 95 %, both files on the same draw; None where it cannot be said.
    """

    kind: str
    champion: float | None
    challenger: float | None
    interval: Interval | None

    @property
    def points(self) -> float | None:
        return None if self.champion is None or self.challenger is None else self.champion - self.challenger


@dataclass(frozen=True, kw_only=True)
class Duel:
    """What two files did on the same images.

    Attributes:
      losses: Of box AP, and of mask AP where both have masks.
      champion_ms, challenger_ms: Median milliseconds an image, with pre-processing and decoding, timed in turns.
      num_images: How many images.
    """

    losses: tuple[Loss, ...]
    champion_ms: float
    challenger_ms: float
    num_images: int


def run_duel(champion: Artifact, challenger: Artifact, split: PreparedSplit, *, num_threads: int) -> Duel:
    """Runs both files over a split, image by image, and compares them.

    Raises:
      ArtifactError: if one of them does not run, or they are not of one kind (classes, masks).
    """
    _check_same_kind(champion, challenger)
    files = (champion, challenger)
    found = tuple(CocoResults(with_masks=file.interface.has_masks) for file in files)
    seconds: tuple[list[float], list[float]] = ([], [])
    try:
        with (
            IsolatedRunner(champion, num_threads=num_threads) as first,
            IsolatedRunner(challenger, num_threads=num_threads) as second,
        ):
            for image in split.images[:WARMUP]:
                for runner in (first, second):
                    runner.run(load_image(image.path))
            for image in track(split.images, "champion and challenger", console=Console(stderr=True), transient=True):
                pixels = load_image(image.path)
                for index, runner in enumerate((first, second)):
                    start = time.perf_counter()
                    detections = runner.run(pixels)
                    seconds[index].append(time.perf_counter() - start)
                    found[index].add(image.image_id, detections)
    except InferenceError as error:
        raise ArtifactError(f"champion and challenger: {error}") from None
    return Duel(
        losses=_losses(found[0], found[1], split.annotations),
        champion_ms=median(seconds[0]) * 1000,
        challenger_ms=median(seconds[1]) * 1000,
        num_images=len(split.images),
    )


def _losses(champion: CocoResults, challenger: CocoResults, annotations: Path) -> tuple[Loss, ...]:
    pairs = zip(champion.compare(annotations), challenger.compare(annotations), strict=True)
    kinds = zip(("box", "mask"), pairs, strict=True)
    return tuple(measure_loss(kind, old, new) for kind, (old, new) in kinds if old is not None and new is not None)


def measure_loss(kind: str, champion: Comparison, challenger: Comparison) -> Loss:
    """How much AP the challenger has less, with its interval."""
    intervals = measure_intervals(challenger, champion)
    return Loss(
        kind=kind,
        champion=compared_to_ap(champion).ap,
        challenger=compared_to_ap(challenger).ap,
        interval=None if intervals is None else intervals.ap_drop,
    )


def _check_same_kind(champion: Artifact, challenger: Artifact) -> None:
    old, new = champion.interface, challenger.interface
    if old.labels != new.labels:
        only_one = sorted(set(old.labels.values()) ^ set(new.labels.values()))
        what = f"only one knows {', '.join(only_one)}" if only_one else "the same names, otherwise numbered"
        raise ArtifactError(f"champion and challenger have other classes ({what}): AP cannot be compared")
    if old.has_masks != new.has_masks:
        raise ArtifactError("only one of champion and challenger gives masks: they cannot be compared")
