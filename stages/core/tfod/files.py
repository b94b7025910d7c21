"""Reading and writing the text files of other tools, byte for byte."""

from pathlib import Path

from stages.core.base.errors import ForeignConfigError, UsageError
from stages.core.base.folders import replaced_file


def read_text(path: Path) -> str:
    """A text file with its line ends as they are.

    Raises:
      ForeignConfigError: if there is no such file, or it holds no UTF-8 text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise ForeignConfigError(f"{path}: {reason}") from None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ForeignConfigError(f"{path}: line {line}: no text (byte {error.start} is not UTF-8)") from None
    if "\0" in text:
        raise ForeignConfigError(f"{path}: line {text[: text.index(chr(0))].count(chr(10)) + 1}: no text (a zero byte)")
    return text


def check_writable(path: Path, *, force: bool) -> None:
    """Refuses to overwrite a file without `force`, and to write where there is no folder.

    Raises:
      UsageError: with what to do instead.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path}: {'a folder' if path.is_dir() else 'no such folder'}; name a file in an existing one")
    if path.exists() and not force:
        raise UsageError(f"{path}: is there already; --force overwrites it")


def write_text(text: str, path: Path) -> None:
    """Writes a file whole or not at all, with its line ends as they are in `text`."""
    with replaced_file(path) as partial:
        partial.write_bytes(text.encode())
