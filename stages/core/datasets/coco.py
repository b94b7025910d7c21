"""Reading COCO annotation JSON, as COCO itself and as the many tools write it that only nearly follow it.

Format: https://cocodataset.org/#format-data
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stages.core.base.errors import DataError
from stages.core.datasets.annotations import DIFFICULT
from stages.core.datasets.checking import locate_image
from stages.core.datasets.decoding import RefusedError
from stages.core.datasets.folder_hints import describe_folder
from stages.core.datasets.samples import SPLITS, Source, SourceImage, SourceObject, Split
from stages.core.masks.segmentations import Box
from stages.core.results.preparation import ImageFate

Tree = dict[str, Any]
PROBED_IMAGES = 200
"""Image folders are told apart by whether they hold one of so many listed files."""


def read_coco(folder: Path, *, annotations: str | Mapping[Split, str] | None, images: str | None) -> Source:
    """Reads one COCO JSON, or one per split.

    Args:
      folder: The data set.
      annotations: JSON below `folder`, or one for each split that the source brings; None: the only one there is.
      images: Folder of images below `folder`; None: found by the listed file names.

    Returns:
      A source whose categories are numbered from 1 in the order of their original ids.

    Raises:
      DataError: if a file is missing or is not COCO, an id is used twice or is unknown, or nothing is annotated.
    """
    files = find_annotations(folder, annotations)
    trees = {split: load_tree(path) for split, path in files.items()}
    names = merge_categories({files[split]: tree for split, tree in trees.items()})
    numbers = {original: number for number, original in enumerate(sorted(names), start=1)}
    found: list[SourceImage] = []
    fates: list[ImageFate] = []
    for split, path in files.items():
        tree = trees[split]
        by_image, lost = group_objects(tree, path, numbers)
        fates += lost
        image_folder = find_images(folder, path, images, tree["images"])
        found += (read_image(entry, image_folder, split, by_image) for entry in tree["images"])
    where = ", ".join(str(path) for path in files.values())
    if not found:
        raise DataError(f"{where}: no images")
    if not any(image.objects for image in found):
        raise DataError(f"{where}: no annotations for its {len(found)} images")
    has_masks = any(item.segmentation for image in found for item in image.objects)
    labels = {number: names[original] for original, number in numbers.items()}
    return Source(labels=labels, has_masks=has_masks, images=found, fates=tuple(fates))


def find_annotations(folder: Path, annotations: str | Mapping[Split, str] | None) -> dict[Split | None, Path]:
    """Annotation files by the split they define; None where the split is left to the seed."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (prepare.path)")
    files: dict[Split | None, Path]
    if annotations is None:
        files = {None: _only_json(folder)}
    elif isinstance(annotations, str):
        files = {None: folder / annotations}
    else:
        files = {split: folder / annotations[split] for split in SPLITS if split in annotations}
    for path in files.values():
        if not path.is_file():
            raise DataError(f"{path}: no such file (prepare.annotations); {describe_folder(folder)}")
    return files


def _only_json(folder: Path) -> Path:
    found = sorted([*folder.glob("*.json"), *folder.glob("annotations/*.json")])
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(path.relative_to(folder)) for path in found[:6])
        raise DataError(f"{folder}: several JSON files ({names}); say which with prepare.annotations")
    raise DataError(f"{folder}: no COCO annotation JSON; {describe_folder(folder)}")


def load_tree(path: Path) -> Tree:
    """A parsed annotation file with the lists `images`, `categories` and `annotations`.

    Raises:
      DataError: naming file and spot.
    """
    try:
        tree = json.loads(path.read_bytes())
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise DataError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("images"), list):
        raise DataError(f"{path}: not COCO: expected an object with the lists images, annotations and categories")
    tree.setdefault("annotations", [])
    for name, keys in {
        "images": ("id", "file_name"),
        "annotations": ("image_id", "category_id"),
        "categories": ("id", "name"),
    }.items():
        _check_entries(tree.get(name), name, keys, path)
    return tree


def _check_entries(entries: Any, name: str, keys: tuple[str, ...], path: Path) -> None:
    if not isinstance(entries, list):
        raise DataError(f"{path}: not COCO: {name} is {type(entries).__name__}, expected a list")
    for index, entry in enumerate(entries):
        missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise DataError(f"{path}: {name}[{index}] has no {' and no '.join(missing)}")
        for key in keys:
            if not isinstance(entry[key], int | str) or (
                key in ("file_name", "name") and not isinstance(entry[key], str)
            ):
                raise DataError(f"{path}: {name}[{index}].{key} is {entry[key]!r}")


def merge_categories(trees: Mapping[Path, Tree]) -> dict[int | str, str]:
    """Original category id to name, over all files.

    Raises:
      DataError: if an id or a name is used twice for different things.
    """
    names: dict[Any, str] = {}
    for path, tree in trees.items():
        own: set[Any] = set()
        for entry in tree["categories"]:
            key, name = entry["id"], entry["name"]
            if key in own or names.setdefault(key, name) != name:
                raise DataError(f"{path}: category id {key!r} is used twice ({names[key]!r} and {name!r})")
            own.add(key)
    if len({type(key) for key in names}) > 1:
        raise DataError(f"{', '.join(map(str, trees))}: category ids are partly numbers, partly text")
    for name in names.values():
        same = [key for key in names if names[key] == name]
        if len(same) > 1:
            raise DataError(f"{', '.join(map(str, trees))}: category {name!r} has several ids: {same}")
    if not names:
        raise DataError(f"{', '.join(map(str, trees))}: no categories")
    return names


def group_objects(
    tree: Tree, path: Path, numbers: Mapping[Any, int]
) -> tuple[dict[Any, list[SourceObject]], list[ImageFate]]:
    """Objects by original image id, and those that belong to no listed image."""
    listed: dict[Any, list[SourceObject]] = {}
    for entry in tree["images"]:
        if entry["id"] in listed:
            raise DataError(f"{path}: image id {entry['id']!r} is used twice")
        listed[entry["id"]] = []
    lost = []
    for index, entry in enumerate(tree["annotations"]):
        if entry["category_id"] not in numbers:
            known = ", ".join(str(key) for key in sorted(numbers)[:20])
            raise DataError(
                f"{path}: annotations[{index}]: unknown category_id {entry['category_id']!r} (known: {known})"
            )
        if entry["image_id"] not in listed:
            detail = f"annotations[{index}]: no image with id {entry['image_id']!r}"
            lost.append(
                ImageFate(file=path.name, kind="object", action="rejected", reason="unknown_image", detail=detail)
            )
            continue
        listed[entry["image_id"]].append(read_object(entry, numbers[entry["category_id"]]))
    return listed, lost


def read_object(entry: Tree, category_id: int) -> SourceObject:
    """One annotation; a box that is not four numbers becomes None, and `checking` decides.

    Conversions from VOC write its `difficult` as `ignore`; beside `iscrowd` that key says nothing new. `difficult`
    itself is what `prepare` writes, which is a crowd to other tools.
    """
    is_crowd, is_difficult = bool(entry.get("iscrowd", 0)), bool(entry.get(DIFFICULT, 0))
    return SourceObject(
        category_id=category_id,
        box_xyxy=_box(entry.get("bbox")),
        segmentation=entry.get("segmentation") or None,
        area=_number(entry.get("area")),
        is_crowd=is_crowd and not is_difficult,
        is_difficult=is_difficult or (bool(entry.get("ignore", 0)) and not is_crowd),
    )


def _box(bbox: Any) -> Box | None:
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None
    numbers = [number for number in map(_number, bbox) if number is not None]
    if len(numbers) != 4:
        return None
    x, y, width, height = numbers
    return x, y, x + width, y + height


def _number(value: Any) -> float | None:
    """None for what is no number, or an integer that no float can hold."""
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def read_image(
    entry: Tree, folder: Path, split: Split | None, objects: Mapping[Any, Iterable[SourceObject]]
) -> SourceImage:
    """One listed image; a size that is missing or zero is left to the file."""
    height, width = entry.get("height"), entry.get("width")
    known = isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0
    return SourceImage(
        folder=folder,
        file=entry["file_name"],
        size=(height, width) if known else None,  # type: ignore[arg-type]
        split=split,
        objects=tuple(objects[entry["id"]]),
    )


def find_images(folder: Path, annotations: Path, images: str | None, entries: list[Tree]) -> Path:
    """The folder that holds the listed images.

    With `prepare.images`: that one, or a sub-folder of it named after the annotation file (`instances_val2017.json`:
    `val2017/`). Else beside the annotations, in `images/` there, or the same from the data set's top.

    Raises:
      DataError: if none holds any of the first listed files.
    """
    stem = annotations.stem.removeprefix("instances_")
    tops = (
        [folder / images]
        if images is not None
        else [annotations.parent, annotations.parent / "images", folder, folder / "images"]
    )
    candidates = list(dict.fromkeys(candidate for top in tops for candidate in (top, top / stem)))
    for candidate in candidates:
        if any(_is_there(candidate, entry["file_name"]) for entry in entries[:PROBED_IMAGES]):
            return candidate
    if not entries:
        return tops[0]
    looked = (
        ", ".join(str(candidate) for candidate in candidates if candidate.is_dir()) or f"{tops[0]} (no such folder)"
    )
    raise DataError(
        f"{annotations}: none of its images is there (first: {entries[0]['file_name']!r}); looked in {looked}; "
        "set prepare.images"
    )


def _is_there(folder: Path, file: str) -> bool:
    try:
        locate_image(folder, file)
    except RefusedError:
        return False
    return True
