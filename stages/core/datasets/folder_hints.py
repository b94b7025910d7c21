"""What a folder looks like: for `prepare.source: auto`, and for error messages that help.

Files are judged by their names and first bytes: a COCO file may have half a gigabyte.
"""

import re
from collections.abc import Callable
from pathlib import Path

from stages.core.datasets.data_files import is_hidden, list_data_files, list_visible

RECORD_FILE = re.compile(r".*\.(tf_?)?records?(-\d{5}-of-\d{5})?(\.gz)?", re.IGNORECASE)
HEAD = 64 * 1024
COCO_KEYS = re.compile(rb'"(categories|category_id|image_id)"\s*:')
LABELME_KEYS = re.compile(rb'"(shapes|shape_type|imagePath)"\s*:')
VIA_KEYS = re.compile(rb'"(_via_img_metadata|_via_settings|regions|shape_attributes)"\s*:')
CORNER = re.compile(r"^\W*(x_?min|x1|left|xmins)\W*$", re.IGNORECASE)
MOST_PROBED = 50
"""Files of one kind that are looked into."""


def is_record_file(path: Path) -> bool:
    """Whether a path is a TFRecord file by its name: `x.record`, `x.tfrecord-00000-of-00010`, `x.tfrecords.gz`."""
    return RECORD_FILE.fullmatch(path.name) is not None and not is_hidden(path.name) and path.is_file()


def is_coco_file(path: Path) -> bool:
    """Whether a JSON file has COCO's keys."""
    return COCO_KEYS.search(_plain_head(path)) is not None and not is_labelme_file(path)


def is_labelme_file(path: Path) -> bool:
    """Whether a JSON file has labelme's keys."""
    return len(set(LABELME_KEYS.findall(_plain_head(path)))) > 1


def is_via_file(path: Path) -> bool:
    """Whether a JSON file has VIA's keys."""
    return VIA_KEYS.search(_plain_head(path)) is not None and not is_labelme_file(path)


def _plain_head(path: Path) -> bytes:
    """First and last bytes; of UTF-16 without the zero bytes, which is enough for keys."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            file.seek(max(0, path.stat().st_size - HEAD))
            return (head + b"\n" + file.read(HEAD)).replace(b"\0", b"")
    except OSError:
        return b""


def _any(suffix: str, is_one: Callable[[Path], bool]) -> Callable[[Path], bool]:
    def holds(folder: Path) -> bool:
        return any(is_one(folder / name) for name in list_data_files(folder, {suffix})[:MOST_PROBED])

    return holds


def _is_annotation_xml(path: Path) -> bool:
    return b"<annotation" in _plain_head(path)


def is_csv_of_boxes(path: Path) -> bool:
    """Whether the first line names corners, or is `path,x1,y1,x2,y2,class`."""
    line = _plain_head(path).decode("utf-8", "replace").lstrip("\ufeff").split("\n", 1)[0].strip()
    words = re.split(r"[,;\t]", line)
    is_plain = len(words) == 6 and all(re.fullmatch(r"[\d.]+", word.strip()) for word in words[1:5])
    return is_plain or any(CORNER.match(word) for word in words)


def _is_yolo_config(path: Path) -> bool:
    return re.search(rb"^names\s*:", _plain_head(path), re.MULTILINE) is not None


def _holds_yolo(folder: Path) -> bool:
    if _any(".yaml", _is_yolo_config)(folder) or _any(".yml", _is_yolo_config)(folder):
        return True
    names = {name.rsplit("/", 1)[-1].lower() for name in list_data_files(folder, {".txt", ".names"})}
    return bool(names & {"classes.txt", "obj.names"}) and not _holds_masks(folder)


def _holds_masks(folder: Path) -> bool:
    return any(list_data_files(candidate, {".png"}) for candidate in (folder / "masks",) if candidate.is_dir())


def _holds_records(folder: Path) -> bool:
    return any(map(is_record_file, list_visible(folder, "*")))


FORMATS: dict[str, tuple[str, Callable[[Path], bool]]] = {
    "coco": ("COCO JSON", _any(".json", is_coco_file)),
    "voc": ("Pascal VOC's XML", _any(".xml", _is_annotation_xml)),
    "tfrecord": ("TFRecord files", _holds_records),
    "csv": ("a CSV file of boxes", _any(".csv", is_csv_of_boxes)),
    "yolo": ("YOLO's class names (data.yaml, classes.txt)", _holds_yolo),
    "labelme": ("labelme JSON", _any(".json", is_labelme_file)),
    "via": ("VIA JSON", _any(".json", is_via_file)),
    "masks": ("a folder masks/ of PNG files", _holds_masks),
}
"""`prepare.source` to what such a folder holds, and whether one does."""


def recognise_folder(folder: Path) -> list[str]:
    """Every source that a folder could be, in the order of the table."""
    if not folder.is_dir():
        return []
    return [source for source, (_, is_one) in FORMATS.items() if is_one(folder)]


def describe_folder(folder: Path) -> str:
    """A few words on what a data folder holds, with the source that would fit it."""
    if not folder.is_dir():
        return f"{folder} does not exist"
    if fitting := recognise_folder(folder):
        return f"it holds {FORMATS[fitting[0]][0]}: is prepare.source {fitting[0]}?"
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir() if not is_hidden(path.name))
    if not names:
        return "it is empty"
    return f"it holds {', '.join(names[:6])}" + (f" and {len(names) - 6} more" if len(names) > 6 else "")
