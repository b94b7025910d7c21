"""sha256 of files and of plain values: every number is tied to the bytes it was measured on."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(paths: Sequence[Path]) -> str:
    """sha256 of an artifact: of the file itself, or, where it consists of several, of their names and hashes."""
    if len(paths) == 1:
        return hash_file(paths[0])
    return hash_value([[path.name, hash_file(path)] for path in paths])


def hash_value(value: Any) -> str:
    """sha256 of a JSON-like value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
