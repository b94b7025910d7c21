"""Files of a data set: which there are, and the text of those that hold text."""

import codecs
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from stages.core.base.errors import DataError

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks and the encodings that they announce; UTF-32's begins with UTF-16's."""


def list_data_files(folder: Path, suffixes: Collection[str]) -> list[str]:
    """Files below a folder with one of the suffixes, in any case, as paths relative to it, in name order.

    Hidden files and folders are passed over: a Mac puts a `._x.png` beside each `x.png`, and `__MACOSX` into archives.
    """
    found = []
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        parent = Path(top).relative_to(folder)
        found += [
            (parent / name).as_posix()
            for name in files
            if not is_hidden(name) and os.path.splitext(name)[1].lower() in suffixes  # noqa: PTH122
        ]
    return sorted(found)


def list_visible(folder: Path, pattern: str) -> list[Path]:
    """Paths below a folder whose names match a glob, in order; nothing hidden, nor in a hidden folder."""
    found = folder.rglob(pattern)
    return sorted(path for path in found if not any(map(is_hidden, path.relative_to(folder).parts)))


def is_hidden(name: str) -> bool:
    """Whether a file or folder is there for a system, not for people."""
    return name.startswith(".") or name == "__MACOSX"


def to_printable(text: str) -> str:
    """A text that every file can hold: bytes of a file name that are no UTF-8 become `\\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode()


def read_data_text(path: Path) -> str:
    """A text file in UTF-8, or in what its byte order mark announces.

    Raises:
      DataError: naming line and byte, if it cannot be read or is in another encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}: line {line}: byte {error.start} is not {encoding.upper()}: save the file as UTF-8"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{path}: line {line}: a zero byte (UTF-16 without its mark?): save the file as UTF-8")
    return text


def read_data_json(path: Path) -> Any:
    """A parsed JSON file.

    Raises:
      DataError: naming line or byte.
    """
    try:
        return json.loads(read_data_text(path))
    except RecursionError:
        raise DataError(f"{path}: not readable as JSON: nested too deeply") from None
    except ValueError as error:  # no JSON, or a number of thousands of digits
        raise DataError(f"{path}: not readable as JSON: {error}") from None
