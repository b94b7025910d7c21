"""Which image goes to which split, such that copies of one image never end up on both sides."""

import hashlib
from collections.abc import Sequence

from stages.core.base.errors import DataError
from stages.core.datasets.samples import SPLITS, Sample, Split
from stages.core.params.steps import SplitParams
from stages.core.results.preparation import ImageFate

KEEPS_COPIES: tuple[Split, ...] = ("test", "val", "train")
"""When the source puts copies of one image into several splits, the first of these keeps its copies: what is evaluated
stays as published, what is trained on gives way."""


def assign_splits(
    samples: Sequence[Sample], shares: SplitParams, *, seed: int
) -> tuple[dict[Split, list[Sample]], list[tuple[Sample, ImageFate]]]:
    """Gives every sample a split: the source's own where it has one, else one by seed and content.

    The seeded draw ranks images by a hash of seed and pixels: copies have the same rank, hence the same split, and
    another image in the folder leaves the others' order as it is. Where the source has train but no val, val is drawn
    from train. With `folds`, val is one part of k of what would be train or val.

    Args:
      samples: In source order.
      shares: `prepare.split`, for the images that the source assigns to no split.
      seed: Of the draw.

    Returns:
      Samples by split, in source order, and the copies that had to give way.

    Raises:
      DataError: if train or val gets no image; with folds, if the source has its own val, or fewer different images.
    """
    samples, copies = drop_straddling_copies(samples)
    given = {sample.split for sample in samples if sample.split}
    draws_val = "val" not in given
    undecided = [s for s in samples if s.split is None or (draws_val and s.split == "train")]
    contents, test = [sample.pixels_sha256 for sample in undecided], 0.0 if given else shares.test
    if shares.folds is None:
        drawn = draw_splits(contents, {"test": test, "val": shares.val if draws_val else 0.0}, seed)
    elif draws_val:
        drawn = draw_fold(contents, test=test, folds=shares.folds, fold=shares.fold, seed=seed)
    else:
        raise DataError(
            f"prepare.split.folds {shares.folds}: the source brings a val split of its own, so there is none to draw; "
            "set folds to null, or give the images without split lists"
        )
    pinned = {s.pixels_sha256: s.split for s in samples if s.split and not (draws_val and s.split == "train")}
    splits: dict[Split, list[Sample]] = {split: [] for split in SPLITS}
    for sample in samples:
        # A copy of an image that the source has assigned follows it.
        split = pinned.get(sample.pixels_sha256) or drawn[sample.pixels_sha256]
        splits[split].append(sample)
    for split in ("train", "val"):
        if not splits[split]:
            counts = ", ".join(f"{name} {len(found)}" for name, found in splits.items())
            raise DataError(f"no image is left for {split} ({counts}); give more images or other prepare.split shares")
    return splits, copies


def drop_straddling_copies(samples: Sequence[Sample]) -> tuple[list[Sample], list[tuple[Sample, ImageFate]]]:
    """Leaves copies of one image (equal pixels) in a single one of the splits that the source assigns."""
    keeper: dict[str, Sample] = {}
    for sample in samples:
        if sample.split is None:
            continue
        first = keeper.setdefault(sample.pixels_sha256, sample)
        if KEEPS_COPIES.index(sample.split) < KEEPS_COPIES.index(first.split or sample.split):
            keeper[sample.pixels_sha256] = sample
    kept, copies = [], []
    for sample in samples:
        winner = keeper.get(sample.pixels_sha256)
        if sample.split is None or winner is None or sample.split == winner.split:
            kept.append(sample)
            continue
        detail = f"{sample.split}: same pixels as {winner.source_file} in {winner.split}"
        fate = ImageFate(
            file=sample.source_file, kind="image", action="rejected", reason="copy_in_other_split", detail=detail
        )
        copies.append((sample, fate))
    return kept, copies


def draw_splits(contents: Sequence[str], shares: dict[Split, float], seed: int) -> dict[str, Split]:
    """Draws shares of images by content hash; whole groups of copies at a time, the rest is train.

    A share above zero gets at least one image. The number is the rounded share, more where a group of copies needs it.
    """
    ranked = _rank(contents, seed)
    assigned: dict[str, Split] = {}
    position = 0
    for split, share in shares.items():
        wanted = max(1, round(len(ranked) * share)) if share > 0 else 0
        taken = 0
        while position < len(ranked) and (taken < wanted or ranked[position] in assigned):
            assigned[ranked[position]] = assigned.get(ranked[position], split)
            position, taken = position + 1, taken + 1
    return {content: assigned.get(content, "train") for content in contents}


def draw_fold(contents: Sequence[str], *, test: float, folds: int, fold: int, seed: int) -> dict[str, Split]:
    """Draws test as `draw_splits` does, and cuts the rest, in the order of the draw, into parts of which one is val.

    Every content that is not test is val in exactly one of the folds; the parts' sizes differ by one content at most.

    Args:
      contents: Content hashes, one an image: those of copies are equal.
      test: Share of the images, 0..1.
      folds: How many parts, at least 2.
      fold: Which of them is val, from 0.

    Raises:
      DataError: if there are fewer contents than folds.
    """
    drawn = draw_splits(contents, {"test": test}, seed)
    rest = list(dict.fromkeys(content for content in _rank(contents, seed) if drawn[content] == "train"))
    if folds > len(rest):
        raise DataError(
            f"prepare.split.folds {folds}: only {len(rest)} different images to cut into folds; at most as many folds"
        )
    for content in rest[fold * len(rest) // folds : (fold + 1) * len(rest) // folds]:
        drawn[content] = "val"
    return drawn


def _rank(contents: Sequence[str], seed: int) -> list[str]:
    """The order of the draw: by a hash of seed and content, copies side by side."""
    return sorted(contents, key=lambda content: (hashlib.sha256(f"{seed}:{content}".encode()).digest(), content))
