"""Reading boxes from CSV files with one line per object, as spreadsheets and training scripts have them.

With a header, columns may be named and ordered in many ways; the Object Detection API's tutorials have
`filename,width,height,class,xmin,ymin,xmax,ymax`. Without one, they are keras-retinanet's: `path,x1,y1,x2,y2,class`.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.core.base.errors import DataError
from stages.core.datasets.annotation_files import choose_files
from stages.core.datasets.data_files import list_data_files, read_data_text
from stages.core.datasets.folder_hints import is_csv_of_boxes
from stages.core.datasets.image_files import FoundImage, ImageFiles, probe_folders, resolve_names
from stages.core.datasets.samples import Source, SourceImage, SourceObject, Split
from stages.core.datasets.split_names import SPLIT_NAMES
from stages.core.datasets.tidying import merge_entries, tidy_name
from stages.core.datasets.values import BadValueError, to_number, to_side
from stages.core.masks.segmentations import Box

COLUMNS: dict[str, tuple[str, ...]] = {
    "file": ("filename", "file", "file_name", "image", "image_path", "imagepath", "img", "path", "image_id"),
    "label": ("class", "label", "class_name", "classname", "name", "category"),
    "x_min": ("xmin", "x_min", "x1", "left", "xmins"),
    "y_min": ("ymin", "y_min", "y1", "top", "ymins"),
    "x_max": ("xmax", "x_max", "x2", "right", "xmaxs"),
    "y_max": ("ymax", "y_max", "y2", "bottom", "ymaxs"),
    "width": ("width", "image_width", "img_width"),
    "height": ("height", "image_height", "img_height"),
    "split": ("split", "set", "subset"),
}
"""Column to the names that it goes by, in small letters."""
REQUIRED = ("file", "label", "x_min", "y_min", "x_max", "y_max")
WITHOUT_HEADER = ("file", "x_min", "y_min", "x_max", "y_max", "label")
CORNERS = ("x_min", "y_min", "x_max", "y_max")


@dataclass(frozen=True, kw_only=True)
class CsvLine:
    """One line: its file; where it is, for messages; its values by column, without blanks around; the file's split."""

    path: Path
    where: str
    values: Mapping[str, str]
    split: Split | None


def read_csv(folder: Path, *, annotations: str | Mapping[Split, str] | None, images: str | None) -> Source:
    """Reads one CSV file of boxes, or one per split.

    Args:
      folder: The data set.
      annotations: CSV below `folder`, or one for each split; None: the only one, or one for each split by their names.
      images: Folder of images below `folder`; None: found by the listed names.

    Returns:
      A source with classes in alphabetical order and images in the order of the lines. A line with an image and
      nothing else stands for an image without objects.

    Raises:
      DataError: if a file is missing or lacks a column, or a value is of another kind than its column has.
    """
    files, notes = find_csv_files(folder, annotations)
    lines = [line for split, path in files.items() for line in load_lines(path, split)]
    names = sorted({tidy_name(line.values["label"]) for line in lines} - {""})
    where = ", ".join(dict.fromkeys(str(line.path) for line in lines)) or str(folder)
    if not names:
        raise DataError(f"{where}: no labelled boxes in {len(lines)} lines")
    numbers = {name: number for number, name in enumerate(names, start=1)}
    top = folder if images is None else folder / images
    pictures = ImageFiles(top)
    locations: dict[tuple[Path, str], FoundImage] = {}
    for path in files.values():  # equal names in two files are two images, each beside its file
        listed = list(dict.fromkeys(line.values["file"] for line in lines if line.path == path))
        starts = (top,) if images is not None else (path.parent, top)
        here = probe_folders(listed, [location for start in starts for location in (start, start / "images")])
        locations |= {(path, name): location for name, location in resolve_names(listed, here, pictures).items()}
    if not any(location.is_there for location in locations.values()):
        raise DataError(f"{where}: none of its images is below {top} (first: {lines[0].values['file']!r})")
    found = []
    for line in lines:
        location = locations[line.path, line.values["file"]]
        try:
            height, width = (to_side(line.values.get(key) or None, key) for key in ("height", "width"))
            item = _read_object(line.values, numbers)
        except BadValueError as error:
            raise DataError(f"{line.where}: {error}") from None
        found.append(
            SourceImage(
                folder=location.folder,
                file=location.file,
                size=None if height is None or width is None else (height, width),
                split=_split(line),
                listed_as=location.listed_as,
                refusal=location.refusal,
                objects=() if item is None else (item,),
            )
        )
    merged, _ = merge_entries(found)  # one line per object is what the format is
    return Source(
        labels={number: name for name, number in numbers.items()}, has_masks=False, images=merged, notes=tuple(notes)
    )


def find_csv_files(
    folder: Path, annotations: str | Mapping[Split, str] | None
) -> tuple[dict[Split | None, Path], list[str]]:
    """The files by split, and a note where their names gave the splits."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (prepare.path)")
    found = list_data_files(folder, {".csv"})
    boxes = [name for name in found if is_csv_of_boxes(folder / name)]
    return choose_files(folder, annotations, boxes or found, "CSV")


def load_lines(path: Path, split: Split | None) -> list[CsvLine]:
    """The lines of one file with their values by our names of the columns.

    Raises:
      DataError: if it is no CSV, or lacks a column; the message lists the columns there are.
    """
    text = read_data_text(path)
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        rows = [(reader.line_num, [value.strip() for value in row]) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}: not readable as CSV: {error}") from None
    rows = [(number, row) for number, row in rows if any(row)]
    if not rows:
        raise DataError(f"{path}: empty")
    columns = _columns(rows[0][1])
    missing = [name for name in REQUIRED if name not in columns]
    if missing and _has_no_header(rows[0][1]):
        columns = {name: index for index, name in enumerate(WITHOUT_HEADER)}
    elif missing:
        raise DataError(
            f"{path}: no column for {', '.join(missing)} (found: {', '.join(rows[0][1])}; expected such as "
            "filename,width,height,class,xmin,ymin,xmax,ymax)"
        )
    else:
        rows = rows[1:]
    lines = []
    for number, row in rows:
        where = f"{path}: line {number}"
        if len(row) <= max(columns[name] for name in REQUIRED):
            raise DataError(f"{where}: {len(row)} values, expected {max(columns.values()) + 1}")
        values = {name: row[index] if index < len(row) else "" for name, index in columns.items()}
        if not values["file"]:
            raise DataError(f"{where}: no file name")
        lines.append(CsvLine(path=path, where=where, values=values, split=split))
    return lines


def _columns(header: Sequence[str]) -> dict[str, int]:
    named = {name.lower().replace(" ", "_"): index for index, name in reversed(list(enumerate(header)))}
    return {
        column: next(named[name] for name in names if name in named)
        for column, names in COLUMNS.items()
        if any(name in named for name in names)
    }


def _has_no_header(row: Sequence[str]) -> bool:
    if len(row) != len(WITHOUT_HEADER):
        return False
    try:
        return not any(row[1:]) or all(to_number(value, "") is not None for value in row[1:5])
    except BadValueError:
        return False


def _read_object(values: Mapping[str, str], numbers: Mapping[str, int]) -> SourceObject | None:
    """The object of a line; None where it has neither class nor box."""
    corners = [to_number(values[name] or None, name) for name in CORNERS]
    name = tidy_name(values["label"])
    if not name:
        if any(value is not None for value in corners):
            raise BadValueError("a box without a class")
        return None
    x_min, y_min, x_max, y_max = corners
    box: Box | None = None
    if x_min is not None and y_min is not None and x_max is not None and y_max is not None:
        box = (x_min, y_min, x_max, y_max)
    return SourceObject(category_id=numbers[name], box_xyxy=box)


def _split(line: CsvLine) -> Split | None:
    text = line.values.get("split", "").lower()
    if not text or line.split is not None:
        return line.split
    if text not in SPLIT_NAMES:
        raise DataError(f"{line.where}: unknown split {text!r} (known: {', '.join(SPLIT_NAMES)})")
    return SPLIT_NAMES[text]
