"""Reading masks in PNG files: one file for each object, or one for each image whose pixel values are coded.

For `images/a.jpg`:

- `masks/a/nut_1.png`, `masks/a/nut_2.png`: one file per object; the name without its number is the class.
- `masks/a.png`: 0 is background. With one class in `classes.txt`, every other value is an object (Penn-Fudan). A value
  from 1000 on is class times 1000 plus object (Cityscapes' instance ids); class 1 is the first line of `classes.txt`.
  Below, with several classes, a value is a class, and each connected region of it an object.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from stages.core.base.errors import DataError
from stages.core.datasets.data_files import list_data_files, read_data_text
from stages.core.datasets.decoding import SUFFIXES
from stages.core.datasets.folder_hints import describe_folder
from stages.core.datasets.samples import Source, SourceImage, SourceObject
from stages.core.datasets.tidying import tidy_name
from stages.core.masks.segmentations import encode_mask
from stages.core.results.preparation import ImageFate

MASKS, CLASSES = "masks", "classes.txt"
NUMBER = re.compile(r"[ _-]*\d+$")
INSTANCE = 1000
"""Values from here on hold class and object."""
SMALLEST_REGION = 4
"""Pixels of a connected region; smaller ones are the fringe of a mask that was resized."""


def read_masks(folder: Path, *, images: str | None) -> Source:
    """Reads a folder of images and masks.

    Args:
      folder: Holds `masks/`, images, and `classes.txt` for coded masks.
      images: Folder of images below `folder`; None: `images/`, or `folder` itself.

    Raises:
      DataError: if there are no masks, or none belongs to an image, or a coded value has no class.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (prepare.path)")
    if not (folder / MASKS).is_dir():
        raise DataError(f"{folder}: no folder {MASKS}/; {describe_folder(folder)}")
    top = folder / images if images is not None else next(
        (candidate for candidate in (folder / "images", folder / "JPEGImages") if candidate.is_dir()), folder
    )  # fmt: skip
    pictures = [name for name in list_data_files(top, SUFFIXES) if MASKS not in PurePosixPath(name).parts[:-1]]
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in pictures:
        by_stem[PurePosixPath(name).with_suffix("").as_posix()].append(name)
    classes = _load_classes(folder)
    coded, single, strays = _sort_masks(list_data_files(folder / MASKS, {".png"}), by_stem)
    if not coded and not single:
        raise DataError(f"{folder / MASKS}: none of {len(strays)} masks belongs to one of {len(pictures)} images")
    numbers = {name: number for number, name in enumerate(classes or sorted({item.name for item in single}), start=1)}
    fates = [
        ImageFate(file=f"{MASKS}/{name}", kind="object", action="rejected", reason="unknown_image", detail="no image")
        for name in strays
    ]
    by_image: dict[str, list[SingleMask]] = defaultdict(list)
    for item in single:
        by_image[item.stem].append(item)
    found = []
    for stem, names in by_stem.items():
        if len(names) > 1:
            raise DataError(f"{top}: {', '.join(names[:4])}: which one do the masks of {stem!r} belong to?")
        objects = [item.read(folder, numbers) for item in by_image[stem]]
        objects += _read_coded(folder / MASKS / coded[stem], classes) if stem in coded else []
        found.append(SourceImage(folder=top, file=names[0], objects=tuple(objects)))
    if not any(image.objects for image in found):
        raise DataError(f"{folder / MASKS}: no objects in the masks of {len(found)} images")
    without = sum(stem not in coded and not by_image[stem] for stem in by_stem)
    notes = [f"{without} of {len(found)} images have no mask: they have no objects"] if without else []
    if coded and len(classes) > 1:
        notes.append("values below 1000 in coded masks are classes: each connected region is an object")
    return Source(
        labels={number: name for name, number in numbers.items()},
        has_masks=True,
        images=found,
        fates=tuple(fates),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class SingleMask:
    """The mask of one object: its file below `masks/`, the image's stem, and its class."""

    file: str
    stem: str
    name: str

    def read(self, folder: Path, numbers: dict[str, int]) -> SourceObject:
        """The object; its mask stays the file's bytes, and is checked with the image."""
        if self.name not in numbers:
            raise DataError(f"{folder / MASKS / self.file}: class {self.name!r} is not in {folder / CLASSES}")
        try:
            data = (folder / MASKS / self.file).read_bytes()
        except OSError as error:
            raise DataError(f"{folder / MASKS / self.file}: {error.strerror}") from None
        return SourceObject(category_id=numbers[self.name], segmentation=data)


def _sort_masks(
    names: Sequence[str], by_stem: dict[str, list[str]]
) -> tuple[dict[str, str], list[SingleMask], list[str]]:
    """Coded masks by the image's stem, masks of single objects, and masks of no image."""
    coded: dict[str, str] = {}
    single, strays = [], []
    for name in names:
        pure = PurePosixPath(name)
        if (stem := pure.with_suffix("").as_posix()) in by_stem:
            coded[stem] = name
        elif (parent := pure.parent.as_posix()) in by_stem:
            single.append(SingleMask(name, parent, tidy_name(NUMBER.sub("", pure.stem)) or pure.stem))
        else:
            strays.append(name)
    return coded, single, strays


def _load_classes(folder: Path) -> list[str]:
    path = folder / CLASSES
    if not path.is_file():
        return []
    names = [tidy_name(line) for line in read_data_text(path).splitlines() if line.strip()]
    if len(set(names)) < len(names):
        raise DataError(f"{path}: a class is there twice")
    return names


def _read_coded(path: Path, classes: Sequence[str]) -> Iterator[SourceObject]:
    """The objects of one coded mask."""
    if not classes:
        raise DataError(f"{path}: a coded mask needs {CLASSES}, one class a line, beside {MASKS}/")
    try:
        with Image.open(path, formats=["PNG"]) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not readable as PNG: {error}") from None
    if pixels.ndim != 2:
        raise DataError(f"{path}: colours, expected one channel with a value for each class or object")
    for value in (int(value) for value in np.unique(pixels) if value):
        category_id = value // INSTANCE if value >= INSTANCE else 1 if len(classes) == 1 else value
        if not 1 <= category_id <= len(classes):
            raise DataError(f"{path}: value {value}: expected a class from 1 to {len(classes)} ({CLASSES})")
        mask = pixels == value
        is_class = value < INSTANCE and len(classes) > 1
        for region in _regions(mask) if is_class else [mask]:
            yield SourceObject(category_id=category_id, segmentation=encode_mask(region).to_coco())


def _regions(mask: np.ndarray) -> Iterator[np.ndarray]:
    import cv2  # 150 MB that only data preparation needs

    num, numbered, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for index in range(1, num):
        if stats[index, cv2.CC_STAT_AREA] >= SMALLEST_REGION:
            yield numbered == index
