"""Reading COCO annotation JSON, as COCO itself and as the many tools write it that only nearly follow it.

Format: https://cocodataset.org/#format-data
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stages.core.base.errors import DataError
from stages.core.datasets.annotation_files import choose_files
from stages.core.datasets.annotations import DIFFICULT
from stages.core.datasets.coco_tree import Tree, load_tree, merge_categories
from stages.core.datasets.data_files import list_data_files
from stages.core.datasets.folder_hints import is_coco_file
from stages.core.datasets.image_files import FoundImage, ImageFiles, probe_folders, resolve_names
from stages.core.datasets.outlines import flatten_outlines
from stages.core.datasets.samples import Source, SourceImage, SourceObject, Split
from stages.core.datasets.values import BadValueError, to_flag, to_number, to_side, unexpected
from stages.core.masks.segmentations import Box, is_mask
from stages.core.results.preparation import ImageFate


def read_coco(folder: Path, *, annotations: str | Mapping[Split, str] | None, images: str | None) -> Source:
    """Reads one COCO JSON, or one per split.

    Args:
      folder: The data set.
      annotations: JSON below `folder`, or one for each split that the source brings; None: the only one there is, or
        one for each split by their names.
      images: Folder of images below `folder`; None: found by the listed file names.

    Returns:
      A source whose categories are numbered from 1 in the order of their original ids.

    Raises:
      DataError: if a file is missing or is not COCO, a value is of another kind than its key has, an id is used twice
        or is unknown, or nothing is annotated.
    """
    files, on_files = find_annotations(folder, annotations)
    trees = {split: load_tree(path) for split, path in files.items()}
    numbers, labels, notes = merge_categories({files[split]: tree for split, tree in trees.items()})
    found: list[SourceImage] = []
    fates: list[ImageFate] = []
    for split, path in files.items():
        tree = trees[split]
        by_image, lost = group_objects(tree, path, numbers)
        fates += lost
        locations = find_images(folder, path, images, tree["images"])
        found += (
            read_image(entry, f"{path}: images[{index}]", locations[entry["file_name"]], split, by_image)
            for index, entry in enumerate(tree["images"])
        )
    where = ", ".join(str(path) for path in files.values())
    if not found:
        raise DataError(f"{where}: no images")
    if not any(image.objects for image in found):
        first = f"; first of {len(fates)} that are left out: {fates[0].detail}" if fates else ""
        raise DataError(f"{where}: no annotations for its {len(found)} images{first}")
    return Source(
        labels=labels,
        has_masks=any(item.segmentation for image in found for item in image.objects),
        images=found,
        fates=tuple(fates),
        box_form="width_height",
        notes=(*on_files, *notes),
    )


def find_annotations(
    folder: Path, annotations: str | Mapping[Split, str] | None
) -> tuple[dict[Split | None, Path], list[str]]:
    """Annotation files by the split they define, and a note where their names gave the splits.

    Candidates are JSON files at the top and in `annotations/`, those with COCO's keys if there are such; else any with
    COCO's keys.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (prepare.path)")
    every = list_data_files(folder, {".json"}) if annotations is None else []
    near = [name for name in every if "/" not in name or name.lower().rpartition("/")[0] == "annotations"]
    candidates = [name for name in near or every if is_coco_file(folder / name)] or near
    return choose_files(folder, annotations, candidates, "COCO JSON")


def group_objects(
    tree: Tree, path: Path, numbers: Mapping[int | str, int]
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
            known = ", ".join(repr(key) for key in list(numbers)[:20])
            raise DataError(
                f"{path}: annotations[{index}]: unknown category_id {entry['category_id']!r} (known: {known})"
            )
        if entry["image_id"] not in listed:
            detail = f"annotations[{index}]: no image with id {entry['image_id']!r}"
            lost.append(
                ImageFate(file=path.name, kind="object", action="rejected", reason="unknown_image", detail=detail)
            )
            continue
        try:
            listed[entry["image_id"]].append(read_object(entry, numbers[entry["category_id"]]))
        except BadValueError as error:
            raise DataError(f"{path}: annotations[{index}].{error}") from None
    return listed, lost


def read_object(entry: Tree, category_id: int) -> SourceObject:
    """One annotation; a box that is missing or not of four numbers becomes None, and `checking` decides.

    Conversions from VOC write its `difficult` as `ignore`; beside `iscrowd` that key says nothing new. `difficult`
    itself is what `prepare` writes, which is a crowd to other tools.

    Raises:
      BadValueError: for a value of another kind.
    """
    is_crowd, is_difficult, is_passed_over = (to_flag(entry.get(key), key) for key in ("iscrowd", DIFFICULT, "ignore"))
    segmentation = flatten_outlines(entry.get("segmentation"))
    return SourceObject(
        category_id=category_id,
        box_xyxy=_box(entry.get("bbox")),
        segmentation=segmentation if is_mask(segmentation) else None,
        area=to_number(entry.get("area"), "area"),
        is_crowd=is_crowd and not is_difficult,
        is_difficult=is_difficult or (is_passed_over and not is_crowd),
    )


def _box(bbox: Any) -> Box | None:
    if bbox is None:
        return None
    if not isinstance(bbox, list):
        raise unexpected(bbox, "bbox", "a list of four numbers")
    numbers = [to_number(value, f"bbox[{index}]") for index, value in enumerate(bbox)]
    x, y, width, height = numbers if len(numbers) == 4 else [None] * 4
    if x is None or y is None or width is None or height is None:
        return None
    return x, y, x + width, y + height


def read_image(
    entry: Tree, where: str, location: FoundImage, split: Split | None, objects: Mapping[Any, Iterable[SourceObject]]
) -> SourceImage:
    """One entry of `images` with its objects."""
    try:
        height, width = to_side(entry.get("height"), "height"), to_side(entry.get("width"), "width")
    except BadValueError as error:
        raise DataError(f"{where}.{error}") from None
    return SourceImage(
        folder=location.folder,
        file=location.file,
        size=None if height is None or width is None else (height, width),
        split=split,
        listed_as=location.listed_as,
        refusal=location.refusal,
        objects=tuple(objects[entry["id"]]),
    )


def find_images(folder: Path, annotations: Path, images: str | None, entries: list[Tree]) -> dict[str, FoundImage]:
    """The listed images by their names.

    With `prepare.images`: in that folder, or a sub-folder of it named after the annotation file
    (`instances_val2017.json`: `val2017/`). Else beside the annotations, in `images/` there, or the same from the data
    set's top. What is not there by its whole name is looked for by the last parts of it.

    Raises:
      DataError: if none of the first listed files is found.
    """
    stem = annotations.stem.removeprefix("instances_")
    tops = (
        [folder / images]
        if images is not None
        else [annotations.parent, annotations.parent / "images", folder, folder / "images"]
    )
    candidates = list(dict.fromkeys(candidate for top in tops for candidate in (top, top / stem)))
    names = list(dict.fromkeys(entry["file_name"] for entry in entries))
    found = resolve_names(
        names, probe_folders(names, candidates), ImageFiles(tops[0] if images is not None else folder)
    )
    if not names or any(image.is_there for image in found.values()):
        return found
    first = found[names[0]].refusal
    looked = ", ".join(str(location) for location in candidates if location.is_dir()) or f"{tops[0]} (no such folder)"
    if first and first.reason != "missing_file":
        raise DataError(
            f"{annotations}: none of its images is there (first: {names[0]!r}: {first.reason}: {first.detail})"
        )
    raise DataError(
        f"{annotations}: none of its images is there (first: {names[0]!r}); looked in {looked}; set prepare.images"
    )
