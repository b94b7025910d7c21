"""What a folder looks like, for error messages that help."""

import re
from collections.abc import Callable
from pathlib import Path

RECORD_FILE = re.compile(r".*\.(tf_?)?records?(-\d{5}-of-\d{5})?(\.gz)?", re.IGNORECASE)


def is_record_file(path: Path) -> bool:
    """Whether a path is a TFRecord file by its name: `x.record`, `x.tfrecord-00000-of-00010`, `x.tfrecords.gz`."""
    return RECORD_FILE.fullmatch(path.name) is not None and not path.name.startswith("._") and path.is_file()


def _holds_records(folder: Path) -> bool:
    return any(is_record_file(path) for path in folder.rglob("*"))


def _holds_xml(folder: Path) -> bool:
    return any((folder / "Annotations").glob("*.xml")) or any(folder.glob("*.xml"))


def _holds_json(folder: Path) -> bool:
    return any(folder.glob("*.json")) or any((folder / "annotations").glob("*.json"))


FORMATS: dict[str, tuple[str, Callable[[Path], bool]]] = {
    "voc": ("XML annotations", _holds_xml),
    "coco": ("JSON files", _holds_json),
    "tfrecord": ("TFRecord files", _holds_records),
}
"""`prepare.source` to what such a folder holds, and whether one does; the first that fits is named."""


def describe_folder(folder: Path) -> str:
    """A few words on what a data folder holds, with the source that would fit it."""
    if not folder.is_dir():
        return f"{folder} does not exist"
    for source, (contents, is_one) in FORMATS.items():
        if is_one(folder):
            return f"it holds {contents}: is prepare.source {source}?"
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    if not names:
        return "it is empty"
    return f"it holds {', '.join(names[:6])}" + (f" and {len(names) - 6} more" if len(names) > 6 else "")
