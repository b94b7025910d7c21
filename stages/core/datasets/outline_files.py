"""Reading outlines that people drew: labelme's JSON, one per image, and VIA's, one for many images.

Formats: https://github.com/wkentaro/labelme, https://www.robots.ox.ac.uk/~vgg/software/via/.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.core.base.errors import DataError
from stages.core.datasets.data_files import list_data_files, read_data_json
from stages.core.datasets.drawn_images import DrawnImage, DrawnShape, to_source
from stages.core.datasets.folder_hints import describe_folder, is_labelme_file, is_via_file
from stages.core.datasets.outlines import ellipse_outline
from stages.core.datasets.samples import SPLITS, Source, Split
from stages.core.datasets.values import BadValueError, to_flag, to_name, to_number, to_side, unexpected

CLASS_ATTRIBUTES = ("class", "label", "name", "category", "type", "object", "object_name")
"""Region attributes of VIA that hold the class, in this order, where there are several."""


def read_labelme(folder: Path, *, images: str | None) -> Source:
    """Reads a folder of labelme files.

    Shapes of one label and one `group_id` are parts of one object. Points and lines are no regions: rejected objects.

    Args:
      folder: The data set; files may lie anywhere in it.
      images: Folder of images below `folder`; None: beside the files, or found by the last part of `imagePath`.

    Raises:
      DataError: if there is no such file, or one holds values of another kind than its keys have.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (prepare.path)")
    files = [folder / name for name in list_data_files(folder, {".json"}) if is_labelme_file(folder / name)]
    if not files:
        raise DataError(f"{folder}: no labelme JSON (with `shapes`); {describe_folder(folder)}")
    return to_source([_read_labelme(path) for path in files], folder, images)


def _read_labelme(path: Path) -> DrawnImage:
    tree = read_data_json(path)
    if not isinstance(tree, dict) or not isinstance(tree.get("shapes"), list):
        raise DataError(f"{path}: not labelme: expected an object with the list shapes")
    try:
        name = to_name(tree.get("imagePath") or path.with_suffix("").name, "imagePath")
        height, width = (to_side(tree.get(key), key) for key in ("imageHeight", "imageWidth"))
    except BadValueError as error:
        raise DataError(f"{path}: {error}") from None
    shapes: dict[Any, DrawnShape] = {}
    for index, entry in enumerate(tree["shapes"]):
        where = f"{path}: shapes[{index}]"
        if not isinstance(entry, dict):
            raise DataError(f"{where} is {type(entry).__name__}, expected an object")
        try:
            shape = _labelme_shape(entry, where)
        except BadValueError as error:
            raise DataError(f"{where}.{error}") from None
        group = entry.get("group_id")
        key = index if group is None or shape.outline is None else (str(group), shape.label)
        shapes[key] = shape if key not in shapes else shapes[key].joined(shape)
    size = None if height is None or width is None else (height, width)
    return DrawnImage(where=str(path), name=name, folder=path.parent, size=size, shapes=tuple(shapes.values()))


def _labelme_shape(entry: Mapping[str, Any], where: str) -> DrawnShape:
    kind = entry.get("shape_type") or "polygon"
    points = entry.get("points")
    if not isinstance(points, list):
        raise unexpected(points, "points", "a list of [x, y]")
    flat = [value for index, point in enumerate(points) for value in _point(point, f"points[{index}]")]
    shape = DrawnShape(
        where=where,
        label=to_name(entry.get("label"), "label"),
        is_difficult=to_flag(entry.get("difficult"), "difficult"),
    )
    if kind == "polygon" and len(flat) >= 6:
        return shape.with_outline(flat)
    if kind == "rectangle" and len(flat) in (4, 8):
        return shape.with_box(flat)
    if kind == "circle" and len(flat) == 4:
        radius = ((flat[0] - flat[2]) ** 2 + (flat[1] - flat[3]) ** 2) ** 0.5
        return shape.with_outline(ellipse_outline(flat[0], flat[1], radius, radius))
    return shape.refused(f"a {kind} of {len(points)} points is no region")


def _point(value: Any, key: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise unexpected(value, key, "[x, y]")
    x, y = (to_number(side, f"{key}[{index}]") for index, side in enumerate(value))
    if x is None or y is None:
        raise unexpected(value, key, "[x, y]")
    return x, y


def read_via(folder: Path, *, annotations: str | Mapping[Split, str] | None, images: str | None) -> Source:
    """Reads VIA's JSON (2.x and 1.x, annotations or a project), or one per split.

    Args:
      folder: The data set.
      annotations: JSON below `folder`, or one for each split; None: the only one there is.
      images: Folder of images below `folder`; None: beside the JSON, or found by their names.

    Raises:
      DataError: if there is no such file, regions do not say their class, or values are of another kind.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (prepare.path)")
    files: dict[Split | None, Path]
    if isinstance(annotations, Mapping):
        files = {split: folder / annotations[split] for split in SPLITS if split in annotations}
    elif annotations is not None:
        files = {None: folder / annotations}
    else:
        found = [name for name in list_data_files(folder, {".json"}) if is_via_file(folder / name)]
        if len(found) != 1:
            problem = f"several VIA files ({', '.join(found[:6])}); say which with prepare.annotations"
            raise DataError(f"{folder}: {problem if found else 'no VIA JSON'}; {describe_folder(folder)}")
        files = {None: folder / found[0]}
    drawn = [image for split, path in files.items() for image in _read_via(path, split)]
    return to_source(drawn, folder, images)


def _read_via(path: Path, split: Split | None) -> Iterator[DrawnImage]:
    tree = read_data_json(path)
    if isinstance(tree, dict) and isinstance(tree.get("_via_img_metadata"), dict):
        tree = tree["_via_img_metadata"]
    if not isinstance(tree, dict) or not tree:
        raise DataError(f"{path}: not VIA: expected an object with one entry per image")
    entries: list[tuple[str, str, list[Any]]] = []
    for key, entry in tree.items():
        regions = entry.get("regions") if isinstance(entry, dict) else None
        regions = list(regions.values()) if isinstance(regions, dict) else regions
        if not isinstance(regions, list) or not isinstance(entry.get("filename"), str):
            raise DataError(f"{path}: {key!r}: expected an object with filename and regions")
        entries.append((key, entry["filename"], regions))
    attribute = _class_attribute([region for _, _, regions in entries for region in regions], path)
    for key, name, regions in entries:
        shapes = []
        for index, region in enumerate(regions):
            where = f"{path}: {key!r}: regions[{index}]"
            try:
                shapes.append(_via_shape(region, attribute, where))
            except BadValueError as error:
                raise DataError(f"{where}.{error}") from None
        yield DrawnImage(where=f"{path}: {key!r}", name=name, folder=path.parent, split=split, shapes=tuple(shapes))


def _class_attribute(regions: Sequence[Any], path: Path) -> str:
    """The region attribute that holds the class: the only one, or the first of `CLASS_ATTRIBUTES`."""
    used: Counter[str] = Counter(
        name
        for region in regions
        if isinstance(region, dict) and isinstance(region.get("region_attributes"), dict)
        for name, value in region["region_attributes"].items()
        if value not in ("", None, {})
    )
    known = {name.strip().lower(): name for name in used}
    chosen = next((known[name] for name in CLASS_ATTRIBUTES if name in known), None)
    if chosen is None and len(used) == 1:
        chosen = next(iter(used))
    if chosen is None:
        found = ", ".join(sorted(used)[:6]) or "none"
        raise DataError(
            f"{path}: no region attribute holds the class (found: {found}; expected one of "
            f"{', '.join(CLASS_ATTRIBUTES)}, or a single one)"
        )
    return chosen


def _via_shape(region: Any, attribute: str, where: str) -> DrawnShape:
    outline = region.get("shape_attributes") if isinstance(region, dict) else None
    attributes = region.get("region_attributes") if isinstance(region, dict) else None
    if not isinstance(outline, dict) or not isinstance(attributes, dict):
        raise unexpected(outline, "shape_attributes", "an object, and region_attributes another")
    value = attributes.get(attribute)
    if isinstance(value, dict):  # check boxes: {"nut": true}
        ticked = [name for name, is_on in value.items() if is_on]
        value = ticked[0] if len(ticked) == 1 else None
    shape = DrawnShape(where=where, label=value if isinstance(value, str) else "" if value is None else str(value))
    kind = outline.get("name")
    if kind in ("polygon", "polyline"):
        x, y = (_numbers(outline, f"all_points_{axis}") for axis in "xy")
        if kind == "polygon" and len(x) == len(y) > 2:
            return shape.with_outline([side for pair in zip(x, y, strict=True) for side in pair])
    if kind == "rect":
        x_min, y_min, width, height = (_number(outline, key) for key in ("x", "y", "width", "height"))
        return shape.with_box([x_min, y_min, x_min + width, y_min + height])
    if kind == "circle":
        x_mid, y_mid, radius = (_number(outline, key) for key in ("cx", "cy", "r"))
        return shape.with_outline(ellipse_outline(x_mid, y_mid, radius, radius))
    if kind == "ellipse":
        x_mid, y_mid, along, across = (_number(outline, key) for key in ("cx", "cy", "rx", "ry"))
        turned = to_number(outline.get("theta"), "theta") or 0.0
        return shape.with_outline(ellipse_outline(x_mid, y_mid, along, across, turned))
    return shape.refused(f"{kind!r} is no region")


def _number(outline: Mapping[str, Any], key: str) -> float:
    value = to_number(outline.get(key), f"shape_attributes.{key}")
    if value is None:
        raise unexpected(None, f"shape_attributes.{key}", "a number")
    return value


def _numbers(outline: Mapping[str, Any], key: str) -> list[float]:
    values = outline.get(key)
    if not isinstance(values, list):
        raise unexpected(values, f"shape_attributes.{key}", "a list of numbers")
    return [_number({key: value}, key) for value in values]
