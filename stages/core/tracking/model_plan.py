"""What an MLflow model of a row is made of: the converted folder, the code that runs it, an example, requirements."""

import ast
import base64
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stages.core.base.hashing import hash_value
from stages.core.base.layout import RESULT_FILE
from stages.core.base.versions import read_versions
from stages.core.datasets.prepared import load_image, read_split
from stages.core.reporting.collect import Cell
from stages.core.results.kinds import Backend
from stages.core.results.status import Status
from stages.core.results.table import Row
from stages.core.running.open import RUNTIME_PACKAGES

ROOT = Path(__file__).resolve().parents[3]
"""Folder that holds the package `stages`."""
CODE_FILE = Path(__file__).with_name("detector_model.py")
OUR_IMPORT = re.compile(r"^(\s*from )stages\.", re.MULTILINE)
PACKAGES = ("faster-coco-eval", "numpy", "pillow", "pydantic")
"""What the code that runs a model imports, beside its runtime."""
EXAMPLE_SIDE = 320
"""Longest side of the example in pixels: it is stored with every model."""


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """One model to be logged.

    Attributes:
      name: As MLflow lists it.
      folder: The converted folder.
      sha256: Of its file.
      requirements: Pinned, for pip; MLflow adds itself.
      example: An image in base64.
      competes: Whether it becomes the challenger: a value of a sweep or a fold is no candidate for use.
    """

    name: str
    folder: Path
    sha256: str
    requirements: tuple[str, ...]
    example: str
    competes: bool = True


def plan_model(cell: Cell, row: Row, split: Path, *, competes: bool) -> ModelPlan | None:
    """The model of a row because of which the gate is not red; None for the others.

    Args:
      split: Folder of the evaluation split, whose first image is the example.
    """
    if row.status is not Status.OK or row.fails or not (cell.folder / RESULT_FILE).is_file():
        return None
    versions = read_versions(*PACKAGES, *RUNTIME_PACKAGES[Backend(row.backend)])
    return ModelPlan(
        name=f"{cell.model}-{cell.scheme}",
        folder=cell.folder,
        sha256=row.sha256 or "",
        requirements=tuple(f"{name}=={version}" for name, version in versions.items()),
        example=encode_example(read_split(split).images[0].path),
        competes=competes,
    )


def encode_example(path: Path) -> str:
    """An image as a small JPEG in base64."""
    picture = Image.fromarray(load_image(path))
    picture.thumbnail((EXAMPLE_SIDE, EXAMPLE_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=84, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def write_code(folder: Path) -> tuple[Path, Path]:
    """Writes the code of a model: the file that MLflow runs, and a package of the modules that it needs.

    The package has a name of its own, made of a hash of its content. MLflow puts it on Python's path: there it must
    neither hide the project nor be taken for the package of a model with other code.

    Returns:
      The file and the package's folder.
    """
    texts = {module: module.read_text(encoding="utf-8") for module in (CODE_FILE, *sorted(find_modules(CODE_FILE)))}
    sha256 = hash_value({module.relative_to(ROOT).as_posix(): text for module, text in texts.items()})
    package = folder / f"detector_{sha256[:12]}"
    for module, text in texts.items():
        inside = package / module.relative_to(ROOT / "stages")
        target = folder / CODE_FILE.name if module == CODE_FILE else inside
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(OUR_IMPORT.sub(rf"\g<1>{package.name}.", text), encoding="utf-8")
    return folder / CODE_FILE.name, package


def find_modules(start: Path) -> set[Path]:
    """Files of this package that a file imports, directly or not, those of lazy imports included."""
    found: set[Path] = set()
    todo = [start]
    while todo:
        for module in _imported(todo.pop()):
            if module not in found:
                found.add(module)
                todo.append(module)
    return found


def _imported(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "stages":
            module = ROOT / Path(*node.module.split("."))
            yield module.with_suffix(".py")
            yield from (parent / "__init__.py" for parent in module.parents if parent.is_relative_to(ROOT / "stages"))
