"""What `prepare` made of a folder of labelled images."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ImageFate:
    """An image or object that `prepare` repaired or rejected, and why."""

    file: str
    kind: Literal["image", "object"]
    action: Literal["repaired", "rejected"]
    reason: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """Size and hash of one prepared split. Crowds and difficult objects that are ignored are in `num_ignored` alone."""

    num_images: int
    num_objects: int
    num_ignored: int = 0
    objects_per_class: dict[str, int]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """`data/prepared/report.json`: what was kept, repaired and rejected, and the hash of what came out.

    Attributes:
      objects_kept: With those that are ignored; `splits` says how many these are.
      notes: What was taken in another way than it is written, or is not as it should be: one sentence each.
      leaks: Two splits that the source gave common images (`train and val`), and how many; they were taken out.
      near_duplicates: Two splits (`train and val`), and how many images of the second look like one of the first.
    """

    source: str
    images_found: int
    images_kept: int
    images_repaired: int
    images_rejected: int
    objects_found: int
    objects_kept: int
    objects_repaired: int
    objects_rejected: int
    reasons: dict[str, int]
    fates: tuple[ImageFate, ...]
    splits: dict[str, SplitSummary]
    sha256: str
    """Hash over all splits."""
    notes: tuple[str, ...] = ()
    leaks: dict[str, int] = field(default_factory=dict)
    near_duplicates: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CalibrationImage:
    """One image of the fixed calibration list: path relative to data/prepared, and its hash."""

    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class CalibrationList:
    """`data/prepared/calibration.json`: the representative data set, drawn once from train.

    Images that show many classes come first, so that any prefix of the list is a sensible sample.
    """

    seed: int
    split: str
    images: tuple[CalibrationImage, ...]
