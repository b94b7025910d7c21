"""Reading what `prepare` wrote: the only door through which later stages see images, labels and ground truth."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from stages.core.base.errors import DataError, MissingResultError
from stages.core.base.hashing import hash_file
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import ANNOTATIONS_FILE
from stages.core.results.preparation import CalibrationList, PrepareReport


@dataclass(frozen=True)
class PreparedImage:
    """One image of a prepared split: normalised id, path of the file, size in pixels."""

    image_id: int
    path: Path
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


@dataclass(frozen=True)
class PreparedSplit:
    """One split: its images in id order and its ground truth.

    Attributes:
      name: train, val or test.
      annotations: COCO JSON of the split.
      images: Ordered by image id.
      labels: Category id (from 1) to name.
    """

    name: str
    annotations: Path
    images: tuple[PreparedImage, ...]
    labels: Mapping[str, str]

    @cached_property
    def by_id(self) -> dict[int, PreparedImage]:
        return {image.image_id: image for image in self.images}

    @property
    def records(self) -> str:
        """Glob of the TFRecord shards."""
        return str(self.annotations.parent / "*.tfrecord")


def read_split(folder: Path) -> PreparedSplit:
    """Reads `data/prepared/<split>`.

    Raises:
      MissingResultError: if the split was not prepared.
      DataError: if its annotation file is damaged.
    """
    annotations = folder / ANNOTATIONS_FILE
    try:
        tree = json.loads(annotations.read_bytes())
        labels = {str(int(entry["id"])): str(entry["name"]) for entry in tree["categories"]}
        images = tuple(
            PreparedImage(entry["id"], folder / "images" / entry["file_name"], entry["height"], entry["width"])
            for entry in sorted(tree["images"], key=lambda entry: int(entry["id"]))
        )
    except FileNotFoundError:
        raise MissingResultError(f"{annotations}: no such file; run `prepare` first") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{annotations}: not the COCO JSON that `prepare` writes: {error!r}") from None
    return PreparedSplit(folder.name, annotations, images, labels)


def read_evaluation_split(folder: Path) -> PreparedSplit:
    """Reads the split that `validate.split` names.

    Raises:
      MissingResultError, DataError: as `read_split`; DataError also if the split has no images.
    """
    split = read_split(folder)
    if not split.images:
        raise DataError(
            f"{folder}: no images to evaluate the model on; set validate.split: val, or prepare a {folder.name} split "
            f"(prepare.split.{folder.name}, or one that the source brings) and run `prepare` again"
        )
    return split


def check_labels(trained: Mapping[str, str], prepared: Mapping[str, str], weights: Path) -> None:
    """Checks that weights are used on the classes that they were trained on.

    Args:
      trained, prepared: Category id to name, of the weights and of the prepared data. Where the weights' are not known
        (results from before they were noted), there is nothing to compare.
      weights: For the message: the file that states theirs.

    Raises:
      DataError: naming the first class that differs.
    """
    if not trained or dict(trained) == dict(prepared):
        return
    keys = sorted({*trained, *prepared}, key=int)
    first = next(key for key in keys if trained.get(key) != prepared.get(key))
    raise DataError(
        f"{weights}: class {first} is {trained.get(first, 'none')!r} in these weights ({len(trained)} classes), and "
        f"{prepared.get(first, 'none')!r} in the prepared data ({len(prepared)}): trained on other labels; run `train` "
        "again, or `prepare` the data that they were trained on"
    )


def load_image(path: Path) -> np.ndarray:
    """Decodes a prepared image: uint8 [height, width, 3], RGB, 0..255."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_labels(path: Path) -> dict[int, str]:
    """labels.json: category id (from 1) to name, in id order."""
    labels = read_json(dict[str, str], path)
    return {int(key): labels[key] for key in sorted(labels, key=int)}


def read_calibration(path: Path, *, limit: int) -> tuple[Path, ...]:
    """Paths of the first `limit` images of the fixed calibration list, each checked against its recorded sha256.

    Raises:
      DataError: if a file is missing or is not the one that was drawn: calibrating on other images would be silent.
    """
    chosen = read_json(CalibrationList, path).images[:limit]
    paths = []
    for image in chosen:
        file = path.parent / image.file
        if not file.is_file():
            raise DataError(f"{path}: {image.file} is missing; run `prepare` again")
        if hash_file(file) != image.sha256:
            raise DataError(
                f"{path}: {image.file} is not the file that was drawn (sha256 differs); run `prepare` again"
            )
        paths.append(file)
    return tuple(paths)


def read_prepare_report(path: Path) -> PrepareReport:
    """`data/prepared/report.json`."""
    return read_json(PrepareReport, path)
