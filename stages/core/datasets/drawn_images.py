"""Images with outlines, as drawing tools save them, on their way to a source."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stages.core.base.errors import DataError
from stages.core.datasets.image_files import FoundImage, ImageFiles, resolve_name
from stages.core.datasets.outlines import outline_to_box
from stages.core.datasets.samples import Source, SourceImage, SourceObject, Split
from stages.core.datasets.tidying import tidy_name
from stages.core.masks.segmentations import Box
from stages.core.results.preparation import ImageFate


@dataclass(frozen=True, kw_only=True)
class DrawnShape:
    """One shape.

    Attributes:
      where: File and position, for messages.
      label: Its class; empty where none is given.
      outline: Polygons [x, y, x, y, ...] in pixels; None for a box, and for what is no region.
      box: In pixels.
      why_not: Why it is no region.
    """

    where: str
    label: str
    outline: tuple[tuple[float, ...], ...] | None = None
    box: Box | None = None
    why_not: str = ""
    is_difficult: bool = False

    def with_outline(self, flat: Sequence[float]) -> "DrawnShape":
        return replace(self, outline=(tuple(flat),), box=outline_to_box([flat]))

    def with_box(self, corners: Sequence[float]) -> "DrawnShape":
        """A rectangle from two corners or four, in any order."""
        return replace(self, box=outline_to_box([corners]))

    def refused(self, why_not: str) -> "DrawnShape":
        return replace(self, why_not=why_not)

    def joined(self, other: "DrawnShape") -> "DrawnShape":
        """Both as one object of several parts."""
        outline = (*(self.outline or ()), *(other.outline or ()))
        return replace(self, outline=outline, box=outline_to_box(outline))


@dataclass(frozen=True, kw_only=True)
class DrawnImage:
    """One image: its name as listed, the folder of the file that lists it, size, split and shapes."""

    where: str
    name: str
    folder: Path
    size: tuple[int, int] | None = None
    split: Split | None = None
    shapes: tuple[DrawnShape, ...] = ()


def to_source(drawn: Sequence[DrawnImage], folder: Path, images: str | None, notes: Sequence[str] = ()) -> Source:
    """A source with classes in alphabetical order.

    Args:
      drawn: As read.
      folder: The data set.
      notes: Of the reader.
      images: `prepare.images`; None: images are beside the files that list them, or anywhere.

    Raises:
      DataError: if there is no class, or no image is found.
    """
    names = sorted({tidy_name(shape.label) for image in drawn for shape in image.shapes} - {""})
    if not names:
        raise DataError(f"{folder}: no labelled shapes in {len(drawn)} images")
    numbers = {name: number for number, name in enumerate(names, start=1)}
    files = ImageFiles(folder if images is None else folder / images)
    fates: list[ImageFate] = []
    found = []
    for image in drawn:
        location = resolve_name(image.name, image.folder if images is None else folder / images, files)
        found.append(_to_image(image, location, folder, numbers, fates))
    if not any(image.refusal is None for image in found):
        first = found[0].refusal
        raise DataError(
            f"{drawn[0].where}: none of the {len(found)} images is below {files.top} (first: {drawn[0].name!r}: "
            f"{first.reason if first else ''})"
        )
    return Source(
        labels={number: name for name, number in numbers.items()},
        has_masks=any(item.segmentation for image in found for item in image.objects),
        images=found,
        fates=tuple(fates),
        notes=tuple(notes),
    )


def _to_image(
    image: DrawnImage, location: FoundImage, folder: Path, numbers: dict[str, int], fates: list[ImageFate]
) -> SourceImage:
    objects = []
    for shape in image.shapes:
        reason = "not_a_region" if shape.why_not else "no_class" if not tidy_name(shape.label) else ""
        if reason:
            detail = f"{shape.where}{': ' * bool(shape.why_not)}{shape.why_not}"
            fates.append(ImageFate(file=location.file, kind="object", action="rejected", reason=reason, detail=detail))
            continue
        objects.append(
            SourceObject(
                category_id=numbers[tidy_name(shape.label)],
                box_xyxy=shape.box,
                segmentation=None if shape.outline is None else [list(part) for part in shape.outline],
                is_difficult=shape.is_difficult,
            )
        )
    # Below the data set's top, so that equal names in several folders stay apart.
    inside = location.folder.is_relative_to(folder)
    return SourceImage(
        folder=folder if inside else location.folder,
        file=(location.folder / location.file).relative_to(folder).as_posix() if inside else location.file,
        size=image.size,
        split=image.split,
        listed_as=location.listed_as,
        refusal=location.refusal,
        objects=tuple(objects),
    )
