"""Reading YOLO data sets: a `data.yaml` with class names and splits, and one text file of fractions for each image.

Format: https://docs.ultralytics.com/datasets/detect/ and `/segment/`. A line is `class x y width height` (the middle of
a box and its sides) or `class x y x y x y ...` (a polygon of three corners or more), all divided by the image's sides.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from stages.core.base.errors import DataError
from stages.core.datasets.data_files import list_data_files, read_data_text
from stages.core.datasets.decoding import SUFFIXES
from stages.core.datasets.folder_hints import describe_folder
from stages.core.datasets.outlines import outline_to_box
from stages.core.datasets.samples import Source, SourceImage, SourceObject, Split
from stages.core.datasets.split_names import note_splits, splits_of_folders
from stages.core.datasets.tidying import tidy_name
from stages.core.datasets.values import BadValueError, to_id, to_name, to_number

SPLIT_KEYS: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "test": "test"}
NAME_FILES = ("classes.txt", "obj.names", "names.txt")
FARTHEST = 2.0
"""A corner farther out than so many image sides is not in fractions."""


def read_yolo(folder: Path, *, annotations: str | None) -> Source:
    """Reads a YOLO data set.

    Args:
      folder: The data set.
      annotations: The YAML below `folder`; None: the only one there is, or `classes.txt` and images without splits.

    Returns:
      A source whose classes keep the order of the file. An image without a text file is one without objects, with a
      note on how many there are.

    Raises:
      DataError: if there are no names, a class is none of them, a line is malformed, or coordinates are in pixels.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (prepare.path)")
    config, names, tree = _load_names(folder, annotations)
    listed = list(_list_images(folder, config, tree))
    if not listed:
        raise DataError(f"{config}: none of its images is below {folder}")
    texts = set(list_data_files(folder, {".txt"}))
    check_alike({file for file, _ in listed}, texts, folder)
    images, far, total, bare = [], 0, 0, 0
    for file, split in listed:
        label = _label_file(file, texts)
        objects = [] if label is None else list(_read_labels(folder / label, names, config))
        bare += label is None
        total += len(objects)
        far += sum(found.box_xyxy is not None and max(map(abs, found.box_xyxy)) > FARTHEST for found in objects)
        images.append(SourceImage(folder=folder, file=file, split=split, unit="fractions", objects=tuple(objects)))
    if not total:
        raise DataError(f"{folder}: no objects in the text files of {len(images)} images ({bare} have none)")
    if 2 * far > total:
        raise DataError(f"{folder}: {far} of {total} boxes reach beyond 2: YOLO's are fractions of the image: pixels?")
    notes = note_splits([split for _, split in listed]) if not any(tree.get(key) for key in SPLIT_KEYS) else []
    notes += [f"{bare} of {len(images)} images have no text file: they have no objects"] if bare else []
    return Source(
        labels=dict(enumerate(names, start=1)),
        has_masks=any(found.segmentation for image in images for found in image.objects),
        images=images,
        notes=tuple(notes),
    )


def check_alike(files: set[str], texts: set[str], folder: Path) -> None:
    """Raises DataError where several images, often a picture and its mask, would have the same text file."""
    owners: dict[str, str] = {}
    for file in sorted(files):
        label = _label_file(file, texts)
        if label is not None and owners.setdefault(label, file) != file:
            raise DataError(
                f"{folder / label}: which is its picture: {owners[label]} or {file}? Take the other one away"
            )


def _load_names(folder: Path, annotations: str | None) -> tuple[Path, list[str], Mapping[str, Any]]:
    """The file with the names, the names, and what else it says."""
    if annotations is None:
        found = [name for name in list_data_files(folder, {".yaml", ".yml"}) if _is_config(folder / name)]
        if len(found) > 1:
            raise DataError(f"{folder}: several YAML files ({', '.join(found[:6])}); say which: prepare.annotations")
        if not found:
            return *_plain_names(folder), {}
        path = folder / found[0]
    else:
        path = folder / annotations
    try:
        tree = yaml.safe_load(read_data_text(path))
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    names = tree.get("names") if isinstance(tree, dict) else None
    if not isinstance(names, list | dict) or not names:
        raise DataError(f"{path}: no list `names` of classes")
    if isinstance(names, dict):
        try:
            names = {to_id(key, "names"): name for key, name in names.items()}
            names = [names[index] for index in range(len(names))]
        except (BadValueError, KeyError):
            raise DataError(
                f"{path}: names: expected the numbers 0 to {len(names) - 1}, found {list(names)[:9]}"
            ) from None
    if "nc" in tree and tree["nc"] != len(names):
        raise DataError(f"{path}: nc is {tree['nc']!r}, but there are {len(names)} names")
    return path, _check_names(names, path), tree


def _is_config(path: Path) -> bool:
    return re.search(r"^names\s*:", read_data_text(path), re.MULTILINE) is not None


def _plain_names(folder: Path) -> tuple[Path, list[str]]:
    for name in list_data_files(folder, {".txt", ".names"}):
        if name.rsplit("/", 1)[-1].lower() in NAME_FILES:
            lines = [line.strip() for line in read_data_text(folder / name).splitlines()]
            while lines and not lines[-1]:
                lines.pop()
            return folder / name, _check_names(lines, folder / name)
    raise DataError(f"{folder}: no class names (data.yaml with `names`, or classes.txt); {describe_folder(folder)}")


def _check_names(names: list[Any], path: Path) -> list[str]:
    try:
        checked = [
            tidy_name(str(name) if type(name) is int else to_name(name, f"names[{index}]"))
            for index, name in enumerate(names)
        ]
    except BadValueError as error:
        raise DataError(f"{path}: {error}") from None
    twice = next((name for name in checked if checked.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: name {twice!r} is there twice")
    return checked


def _list_images(folder: Path, config: Path, tree: Mapping[str, Any]) -> Iterator[tuple[str, Split | None]]:
    """Images relative to `folder`, each with its split, in the order of the splits."""
    files = list_data_files(folder, SUFFIXES)
    wanted = {key: tree[key] for key in SPLIT_KEYS if tree.get(key)}
    if not wanted:
        yield from zip(files, splits_of_folders(files), strict=True)
        return
    for key, given in wanted.items():
        for source in given if isinstance(given, list) else [given]:
            if not isinstance(source, str):
                raise DataError(f"{config}: {key} is {source!r}, expected a folder, a list file or several")
            found = list(_images_at(folder, config, source, files))
            if not found and SPLIT_KEYS[key] != "test":
                raise DataError(f"{config}: {key}: no images at {source!r}: it is looked for below {folder}")
            yield from ((file, SPLIT_KEYS[key]) for file in found)


def _images_at(folder: Path, config: Path, source: str, files: list[str]) -> list[str]:
    """The images of a folder or list file, which may be written for another machine: the longest end that exists."""
    parts = [part for part in source.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    tops = list(dict.fromkeys([config.parent, folder]))
    for start in range(len(parts)):
        for top in tops:
            found = top.joinpath(*parts[start:])
            if found.is_dir():
                lead = found.relative_to(folder).as_posix()
                return [file for file in files if lead == "." or file.startswith(f"{lead}/")]
            if found.is_file() and found.suffix == ".txt":
                return _listed_images(found, files)
    return []


def _listed_images(path: Path, files: list[str]) -> list[str]:
    """The images that a list file names, by the end of their paths."""
    found = []
    for number, line in enumerate(read_data_text(path).splitlines(), start=1):
        parts = [part for part in line.strip().replace("\\", "/").split("/") if part not in ("", ".", "..")]
        if not parts:
            continue
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        alike = next((same for end in ends if (same := [file for file in files if f"/{file}".endswith(f"/{end}")])), [])
        if len(alike) != 1:
            kind = f"{len(alike)} images end so" if alike else "no such image"
            raise DataError(f"{path}: line {number}: {kind}: {line.strip()!r}")
        found += alike
    return found


def _label_file(file: str, texts: set[str]) -> str | None:
    """The text file of an image: where its last folder `images` is `labels`, or beside it."""
    text = PurePosixPath(file).with_suffix(".txt").as_posix()
    head, found, tail = f"/{text}".rpartition("/images/")
    candidates = [f"{head}/labels/{tail}".lstrip("/"), text] if found else [text]
    return next((path for path in candidates if path in texts), None)


def _read_labels(path: Path, names: list[str], config: Path) -> Iterator[SourceObject]:
    for number, line in enumerate(read_data_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            yield _read_line(words, names, config)
        except BadValueError as error:
            raise DataError(f"{path}: line {number}: {error}") from None


def _read_line(words: list[str], names: list[str], config: Path) -> SourceObject:
    values = [
        number for index, word in enumerate(words) if (number := to_number(word, f"value {index + 1}")) is not None
    ]
    index, rest = values[0], values[1:]
    if not 0 <= index < len(names) or index != int(index):
        raise BadValueError(
            f"class {words[0]}: expected 0 to {len(names) - 1}, as {config.name} has {len(names)} names"
        )
    if len(rest) == 4:
        x, y, width, height = rest
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return SourceObject(category_id=int(index) + 1, box_xyxy=box)
    if len(rest) < 6 or len(rest) % 2:
        raise BadValueError(f"{len(words)} values, expected 5 (class and box), or 7, 9, 11, ... (class and polygon)")
    return SourceObject(category_id=int(index) + 1, box_xyxy=outline_to_box([rest]), segmentation=[rest])
