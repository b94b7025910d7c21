"""Frozen dataclasses to JSON files and back, with the types checked on the way in."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.folders import replaced_file

T = TypeVar("T")


def write_json(value: Any, path: Path) -> None:
    """Writes a dataclass (or a list of them, or plain data) as indented JSON, atomically.

    Non-finite floats become null: a NaN that a reader takes for a number is worse than a missing one.
    """
    data: bytes = TypeAdapter(type(value)).dump_json(value, indent=2)
    with replaced_file(path) as partial:
        partial.write_bytes(data + b"\n")


def to_text(value: Any) -> str:
    """What `write_json` writes, as text."""
    return TypeAdapter(type(value)).dump_json(value, indent=2).decode() + "\n"


def read_json(kind: type[T], path: Path) -> T:
    """Reads what `write_json` wrote.

    Raises:
      MissingResultError: if there is no such file.
      ArtifactError: if it is not JSON or does not fit `kind`; the message names the field.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MissingResultError(f"{path}: no such file; run the stage that writes it first") from None
    try:
        return TypeAdapter(kind).validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "top level"
        raise ArtifactError(f"{path}: {where}: {first['msg']}") from None
