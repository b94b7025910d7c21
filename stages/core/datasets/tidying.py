"""What `prepare` settles for a source as a whole, before it looks at an image: entries, masks, names, crowds.

Each function gives its result and sentences for people: nothing is changed without a word.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from stages.core.base.errors import DataError
from stages.core.datasets.samples import Source, SourceImage, Split

MOST_CROWDS = 0.5
"""A set with a larger share of crowds was hardly meant so."""


def tidy_name(name: str) -> str:
    """A class name without blanks around it and with single ones inside: what only blanks tell apart is one class."""
    return " ".join(name.split())


def note_similar_names(names: Iterable[str]) -> list[str]:
    """A note on each group of classes that only differ by case; a set of letters may well mean it."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[name.casefold()].append(name)
    return [
        f"classes {', '.join(map(repr, group))} differ only by case: they stay {len(group)} classes"
        for group in groups.values()
        if len(group) > 1
    ]


def merge_entries(images: Iterable[SourceImage]) -> tuple[list[SourceImage], list[str]]:
    """One entry for each file and split, with the objects of all: some tools list an image once per object.

    Raises:
      DataError: if the entries of one image state different sizes.
    """
    merged: dict[tuple[Path, Split | None], SourceImage] = {}
    entries = 0
    for image in images:
        entries += 1
        key = (image.folder / image.file, image.split)
        first = merged.get(key)
        if first is None:
            merged[key] = image
            continue
        if None not in (first.size, image.size) and first.size != image.size:
            raise DataError(f"{image.file}: is listed with the sizes (height, width) {first.size} and {image.size}")
        merged[key] = replace(first, size=first.size or image.size, objects=(*first.objects, *image.objects))
    several = entries - len(merged)
    notes = [f"{len(merged)} images are listed {entries} times: entries of one file are one image"] if several else []
    return list(merged.values()), notes


def decide_masks(
    images: Sequence[SourceImage], source: Source, policy: Literal["auto", "require", "drop"], max_rejected: float
) -> tuple[bool, list[str]]:
    """Whether masks are needed and kept, so that an object without one is rejected.

    Model Garden's decoder needs as many masks as boxes, so either all objects have one or none.

    Args:
      images, source: What was read.
      policy: `prepare.masks`.
      max_rejected: `prepare.max_rejected_fraction`.
    """
    objects = [found for image in images for found in image.objects]
    masked = sum(found.segmentation is not None for found in objects)
    # A crowd without a mask is its box: the region is ignored anyway.
    lacking = sum(found.segmentation is None and not found.is_crowd for found in objects)
    if policy == "drop" or not source.has_masks or not masked:
        return False, []
    if policy == "require" or lacking <= min(max_rejected, 0.5) * len(objects):
        return True, []
    return False, [
        f"{masked} of {len(objects)} objects have a mask: all masks are dropped, the set has boxes only "
        "(prepare.masks: require rejects the objects without one instead)"
    ]


def note_found(images: Sequence[SourceImage]) -> list[str]:
    """A note on images that lie elsewhere than the annotation says."""
    found = [image for image in images if image.listed_as is not None]
    if not found:
        return []
    return [
        f"{len(found)} of {len(images)} images were found by the last part of their name alone, the first, "
        f"{found[0].listed_as!r}, as {found[0].file}"
    ]


def note_crowds(images: Sequence[SourceImage]) -> list[str]:
    """A note where most objects are crowds, or all of a class."""
    objects = Counter(found.category_id for image in images for found in image.objects)
    crowds = Counter(found.category_id for image in images for found in image.objects if found.is_crowd)
    if crowds.total() <= MOST_CROWDS * objects.total():
        return []
    return [
        f"{crowds.total()} of {objects.total()} objects are crowds (iscrowd): training passes over them and no "
        "evaluation counts them"
    ]
