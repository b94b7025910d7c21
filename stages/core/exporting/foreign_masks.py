"""The masks of a brought model: within each box, or over the whole input."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from stages.core.base.errors import ArtifactError
from stages.core.params.brought import MASKS, BroughtModel


def mask_frame_of(key: str) -> Literal["box", "image"]:
    """What the masks of an output of this key in params.yaml span."""
    return "image" if key == "reframed_masks" else "box"


def check_brought_masks(shapes: Mapping[str, tuple[int, ...]], rows: int, model: BroughtModel, path: Path) -> str:
    """Key of the masks among the outputs; empty without them.

    Raises:
      ArtifactError: if they are not one for each box, or, where they span the whole input, not of its size.
    """
    key = next((key for key in MASKS if key in shapes), "")
    if not key:
        return ""
    found, sides = shapes[key], "h, w"
    fits = len(found) == 4 and found[:2] == (1, rows) and min(found) > 0
    if mask_frame_of(key) == "image":
        sides = ", ".join(map(str, model.input.size))
        fits = fits and found[2:] == model.input.size
    if not fits:
        raise ArtifactError(f"{path}: outputs.{key}: shape {found}, expected (1, {rows}, {sides})")
    return key
