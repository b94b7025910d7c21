"""Parts of a brought model's contract that do not depend on what its file is."""

from pathlib import Path

from stages.core.base.hashing import hash_files
from stages.core.exporting.class_map import ClassMap
from stages.core.params.brought import BroughtModel


def padding_of(model: BroughtModel) -> tuple[int, int, int]:
    """RGB of padding that is about zero after normalisation."""
    means = model.input.means if model.input.color_order == "RGB" else model.input.means[::-1]
    red, green, blue = (min(max(round(value), 0), 255) for value in means)
    return red, green, blue


def describe_classes(classes: ClassMap) -> tuple[str, ...]:
    """What of the model's and the data's classes does not meet."""
    told = []
    if classes.unknown:
        told.append(f"classes of the data that the model does not have, never found: {', '.join(classes.unknown)}")
    if classes.unused:
        told.append(f"{classes.unused} classes of the model are none of the data's; what is found of them is dropped")
    return tuple(told)


def hash_source(path: Path) -> str:
    """sha256 of a brought file, or of the names and hashes of a folder's files."""
    return hash_files([path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file()))
