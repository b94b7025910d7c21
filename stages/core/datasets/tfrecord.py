"""Reading the Object Detection API's TFRecords: images and objects in `tf.train.Example`s, classes in a label map."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.core.base.errors import DataError
from stages.core.datasets.examples import BadExampleError, ExampleImage, ExampleObject, parse_example
from stages.core.datasets.record_classes import RecordClasses, load_classes
from stages.core.datasets.record_frames import find_records, read_record_frames
from stages.core.datasets.samples import SPLITS, Source, SourceImage, SourceObject, Split
from stages.core.masks.segmentations import Box
from stages.core.results.preparation import ImageFate

FARTHEST = 2.0
"""A box may leave its image a little; one whose corner is farther out than this is not in fractions of the image."""


@dataclass(frozen=True, kw_only=True)
class ReadRecord:
    """One record that could be read: where it was, the file that its image went to, and its split."""

    where: str
    file: str
    split: Split | None
    size: tuple[int, int]
    objects: tuple[ExampleObject, ...]


def read_tfrecord(
    folder: Path, scratch: Path, *, annotations: str | Mapping[Split, str] | None, label_map: str | None
) -> Source:
    """Reads records with the API's keys, also those that `prepare` writes.

    Args:
      folder: The data set.
      scratch: Where the images go, as files with the bytes that the records hold.
      annotations: A file, a glob or `name@10` below `folder`, or one for each split; None: every record file.
      label_map: A .pbtxt below `folder`; None: the only one there is. Without one, the records' `class/text` names
        the classes.

    Returns:
      A source whose classes are numbered from 1: in the label map's order, else in that of `class/label`, else of
      their names. A record that is damaged, or lacks what it needs, is a rejected image (`bad_record`).

    Raises:
      DataError: if there are no records, a file is truncated, a class is unknown or has no name, or the boxes are in
        pixels.
      ForeignConfigError: if the label map is damaged.
    """
    wanted: dict[Split | None, str | None]
    if isinstance(annotations, Mapping):
        wanted = {split: annotations[split] for split in SPLITS if split in annotations}
    else:
        wanted = {None: annotations}
    files = {split: find_records(folder, pattern) for split, pattern in wanted.items()}
    classes = load_classes(folder, label_map)
    found: list[ReadRecord] = []
    fates: list[ImageFate] = []
    taken: set[str] = set()
    for split, paths in files.items():
        for path in paths:
            for where, example in _read_examples(path):
                if isinstance(example, str):
                    name = path.relative_to(folder).as_posix()
                    fates.append(
                        ImageFate(
                            file=name,
                            kind="image",
                            action="rejected",
                            reason="bad_record",
                            detail=f"{where}: {example}",
                        )
                    )
                    continue
                for item in example.objects:
                    classes.see(item.label, item.text, f"{path}: {where}")
                file = _store(example, scratch, f"{path.stem}_{len(found)}", taken)
                record = ReadRecord(
                    where=f"{path}: {where}", file=file, split=split, size=example.size, objects=example.objects
                )
                found.append(record)
    _check(found, fates, ", ".join(str(path) for paths in files.values() for path in paths[:3]))
    numbers = {name: number for number, name in enumerate(classes.all(), start=1)}
    images = [_to_image(record, scratch, classes, numbers, fates) for record in found]
    return Source(
        labels={number: name for name, number in numbers.items()},
        has_masks=any(item.segmentation for image in images for item in image.objects),
        images=images,
        fates=tuple(fates),
    )


def _read_examples(path: Path) -> Iterator[tuple[str, ExampleImage | str]]:
    """Every record of a file with where it is: what it holds, or what is wrong with it."""
    for frame in read_record_frames(path):
        where = f"record {frame.index} (byte {frame.offset})"
        if frame.data is None:
            yield where, "its bytes do not fit their checksum"
            continue
        try:
            yield where, parse_example(frame.data)
        except BadExampleError as error:
            yield where, str(error)
        except DataError as error:
            raise DataError(f"{path}: {where}: {error}") from None


def _store(example: ExampleImage, scratch: Path, prefix: str, taken: set[str]) -> str:
    """Writes a record's image under its own name, or, where that is taken, under one with the record's number."""
    name = example.name or f"{prefix}.jpg"
    if name.casefold() in taken:
        name = f"{prefix}_{name}"
    taken.add(name.casefold())
    (scratch / name).write_bytes(example.encoded)
    return name


def _check(found: list[ReadRecord], fates: list[ImageFate], where: str) -> None:
    first = f"; {len(fates)} were rejected, first: {fates[0].file}: {fates[0].detail}" if fates else ""
    if not found:
        raise DataError(f"{where}: no records that can be used{first}")
    boxes = [(record, item.fractions) for record in found for item in record.objects]
    if not boxes:
        raise DataError(f"{where}: no objects in {len(found)} records{first}")
    far = [(record, box) for record, box in boxes if max(abs(side) for side in box) > FARTHEST]
    if 2 * len(far) > len(boxes):
        record, box = far[0]
        raise DataError(
            f"{record.where}: box {[round(side, 2) for side in box]}: the API's boxes are fractions of the image "
            f"(0..1), those of {len(far)} of {len(boxes)} objects are not: pixels?"
        )


def _to_image(
    record: ReadRecord, scratch: Path, classes: RecordClasses, numbers: Mapping[str, int], fates: list[ImageFate]
) -> SourceImage:
    """The record's image and objects; an object without a class is put to `fates`."""
    objects = []
    for number, item in enumerate(record.objects, start=1):
        name = classes.name(item.label, item.text, record.where)
        if name:
            objects.append(_to_object(item, numbers[name], record.size))
        else:
            detail = f"object {number} of {record.where}"
            fates.append(
                ImageFate(file=record.file, kind="object", action="rejected", reason="no_class", detail=detail)
            )
    return SourceImage(folder=scratch, file=record.file, size=record.size, split=record.split, objects=tuple(objects))


def _to_object(item: ExampleObject, category_id: int, size: tuple[int, int]) -> SourceObject:
    """Boxes times width and height; what `prepare` wrote as difficult is a crowd to other tools only."""
    height, width = size
    x_min, y_min, x_max, y_max = item.fractions
    box: Box = (x_min * width, y_min * height, x_max * width, y_max * height)
    return SourceObject(
        category_id=category_id,
        box_xyxy=box,
        segmentation=item.segmentation,
        area=item.area,
        is_crowd=item.is_crowd and not item.is_difficult,
        is_difficult=item.is_difficult,
        is_truncated=item.is_truncated,
    )
