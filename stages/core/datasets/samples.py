"""Values that walk through `prepare`: what an annotation file claims, and what was found to be true.

A reader gives `SourceImage`s, in which nothing has been checked. `checking.check_image` turns each into a `Sample`, or
into the reason why there is none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stages.core.masks.segmentations import Box, Rle
from stages.core.results.preparation import ImageFate

Split = Literal["train", "val", "test"]
BoxForm = Literal["corners", "width_height"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class SourceObject:
    """An object as the annotation has it; nothing is checked yet.

    Attributes:
      category_id: Normalised (from 1).
      box_xyxy: None where the annotation has none that can be read.
      segmentation: COCO's polygons or RLE, as parsed from JSON, or PNG bytes; None for a source without masks.
      area: As annotated, in square pixels.
      is_crowd: A region with several objects of the class, COCO's `iscrowd`.
      is_difficult: Whether the annotation marks it as hard to recognise: VOC's `difficult`, COCO's `ignore`.
    """

    category_id: int
    box_xyxy: Box | None = None
    segmentation: Any = None
    area: float | None = None
    is_crowd: bool = False
    is_difficult: bool = False
    is_truncated: bool = False


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why an image cannot be used: a key of the report, and a few words for people."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """An image as the annotation has it; the file may be missing or anything at all.

    Attributes:
      folder: Where the images are; `file` is relative to it and must not lead out of it.
      size: (height, width) as annotated; None where the annotation does not say.
      split: The split that the source assigns; None where that is left to the seed.
      unit: Of boxes and polygons: pixels, or fractions of the image's width and height as it is decoded.
      listed_as: The name in the annotation, where the file was found by another one.
      refusal: Why the reader found no image for the annotation; the image is rejected with its objects.
    """

    folder: Path
    file: str
    size: tuple[int, int] | None = None
    split: Split | None = None
    unit: Literal["pixels", "fractions"] = "pixels"
    listed_as: str | None = None
    refusal: Refusal | None = None
    objects: tuple[SourceObject, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set as one reader sees it.

    Attributes:
      labels: Normalised category id (from 1) to name.
      has_masks: Whether objects carry masks; `prepare.masks` says what becomes of those that lack theirs.
      images: Read once, in a fixed order; may be lazy.
      fates: What the reader itself had to leave out.
      box_form: How the format states a box; what is easily taken for the other is looked for.
      notes: What the reader took in another way than it is written, one sentence each.
    """

    labels: dict[int, str]
    has_masks: bool
    images: Iterable[SourceImage]
    fates: tuple[ImageFate, ...] = ()
    box_form: BoxForm = "corners"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SampleObject:
    """A checked object: its box is inside the image and has an area, its mask is as large as the image.

    Attributes:
      area: Square pixels: as annotated, else of the mask, else of the box.
      is_crowd, is_difficult: As annotated.
      is_ignored: Whether training passes over it and no evaluation counts it: a crowd, or a difficult object under
        `prepare.difficult: ignore`.
    """

    category_id: int
    box_xyxy: Box
    mask: Rle | None = None
    area: float
    is_crowd: bool = False
    is_difficult: bool = False
    is_ignored: bool = False
    is_truncated: bool = False


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A checked image: it was decoded, and its objects fit it.

    Attributes:
      source_file: Name in the source.
      path: File with the trusted bytes: the source's own, or a repaired copy.
      format: Of those bytes.
      height, width: Of the decoded pixels.
      pixels_sha256: Hash of size and decoded RGB pixels: equal for copies, whatever their names or containers.
      split: The split that the source assigns, or None.
      difference_hash: 64 bits that hardly differ between images that look alike; None where nobody compares them.
    """

    source_file: str
    path: Path
    format: Literal["jpeg", "png"]
    height: int
    width: int
    pixels_sha256: str
    split: Split | None = None
    difference_hash: int | None = None
    objects: tuple[SampleObject, ...] = ()

    @property
    def counted(self) -> tuple[SampleObject, ...]:
        """The objects that are taught and judged: those that are not ignored."""
        return tuple(found for found in self.objects if not found.is_ignored)
