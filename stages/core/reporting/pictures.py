"""Pictures for the report: ground truth, the float model and each scheme side by side."""

import base64
import io
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.core.base.errors import MissingResultError
from stages.core.base.layout import Layout
from stages.core.datasets.prepared import PreparedImage, PreparedSplit, load_image
from stages.core.datasets.subset import choose_subset
from stages.core.processing.decode import outputs_to_detections
from stages.core.processing.preprocess import place_image
from stages.core.processing.stored_outputs import StoredOutputs, load_outputs
from stages.core.reporting.against_truth import f1_against_truth
from stages.core.reporting.collect import Cell
from stages.core.reporting.shapes import Shape, annotations_to_shapes, detections_to_shapes
from stages.core.results.interface import Interface, read_interface
from stages.core.results.kinds import Variant

EMBEDDED_SIDE = 640
"""Longest side in pixels of a picture embedded in the page; what is drawn on it stays sharp at any size."""

NO_REFERENCE = "no reference outputs"
THUMBNAIL_SIDE = 240
"""The same of the many images on which files moved most."""
MAX_MOVED = 240
"""So many of those on a page, shared by its files: a page is to stay small enough to be sent."""

Judged = tuple[StoredOutputs, Interface]
"""Outputs on some images, and how to read them."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One view of a picture.

    Attributes:
      title: `ground truth`, `float`, or a scheme.
      shapes: What is drawn; None where there are no detections, and then `remark` says why.
      f1: Of what is drawn against the ground truth, 0..1, where that is shown.
    """

    title: str
    shapes: tuple[Shape, ...] | None
    remark: str = ""
    f1: float | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image of the evaluation split, as one model sees it."""

    model: str
    image: PreparedImage
    panels: tuple[Panel, ...]
    f1: float | None = None
    """Agreement of the file with the float model on this image, where that is why it is shown."""


@dataclass(frozen=True, kw_only=True)
class MovedCard:
    """The images of one file that moved most."""

    name: str
    pictures: tuple[Picture, ...]


def read_pictures(
    layout: Layout, cells: Sequence[Cell], split: PreparedSplit, *, num_pictures: int, score_threshold: float
) -> tuple[Picture, ...]:
    """The pictures of every model, in the order of the cells.

    Args:
      cells: What was converted; a scheme without stored detections gets an empty panel that says why.
      split: The evaluation split.
      num_pictures: At most so many per model.
      score_threshold: Detections below are not drawn.
    """
    truth = read_annotations(split)
    pictures: list[Picture] = []
    for model in dict.fromkeys(cell.model for cell in cells):
        own = [cell for cell in cells if cell.model == model]
        float_model = _read_float(layout, model)
        by_scheme = {cell.scheme: _read_cell(layout, cell) for cell in own}
        stored = [judged[0] for judged in (*by_scheme.values(), float_model) if judged]
        for image_id in choose_ids(stored, split.by_id, num_pictures):
            image = split.by_id[image_id]
            labels = (float_model or next(judged for judged in by_scheme.values() if judged))[1].labels
            names = {int(key): name for key, name in labels.items()}
            found = annotations_to_shapes(truth.get(image_id, []), names, image.size)
            views = [("float", float_model, NO_REFERENCE)]
            views += [(cell.scheme, by_scheme[cell.scheme], _why_absent(cell)) for cell in own]
            panels = [_draw(title, judged, image, score_threshold, remark) for title, judged, remark in views]
            truth_panel = Panel(title="ground truth", shapes=found)
            pictures.append(Picture(model=model, image=image, panels=(truth_panel, *panels)))
    return tuple(pictures)


def choose_ids(stored: Iterable[StoredOutputs], known: Collection[int], num: int) -> tuple[int, ...]:
    """Ids to show, ascending: the first images of the fixed draw for which any model has outputs."""
    available = {image_id for outputs in stored for image_id in outputs.image_ids.tolist()}
    return tuple(sorted([image_id for image_id in choose_subset(known, len(known)) if image_id in available][:num]))


def read_moved(
    layout: Layout, cells: Sequence[Cell], split: PreparedSplit, *, num_pictures: int
) -> tuple[MovedCard, ...]:
    """Per file, the images on which it is farthest from the float model: ground truth and both, side by side.

    What is drawn is what counted there, from the agreement's score on, and its F1 against the ground truth.

    Args:
      num_pictures: At most so many per file, fewer where `MAX_MOVED` does not reach. Images on which both find the
        same are left out, and files without others.
    """
    cards = []
    num_files = sum(cell.validation.agreement is not None for cell in cells)
    num_pictures = min(num_pictures, max(1, MAX_MOVED // max(1, num_files)))
    truth = read_annotations(split)
    names = {int(key): name for key, name in split.labels.items()}
    for model in dict.fromkeys(cell.model for cell in cells):
        float_model = _read_float(layout, model)
        for cell in (cell for cell in cells if cell.model == model):
            judged, agreement = _read_cell(layout, cell), cell.validation.agreement
            if judged is None or agreement is None:
                continue
            apart = [moved for moved in agreement.most_moved if moved.f1 < 1 and moved.image_id in split.by_id]
            views = (("float", float_model, NO_REFERENCE), (cell.scheme, judged, _why_absent(cell)))
            pictures = []
            for moved in apart[:num_pictures]:
                image = split.by_id[moved.image_id]
                objects = truth.get(image.image_id, [])
                shapes = annotations_to_shapes(objects, names, image.size)
                panels = [_draw(title, of, image, agreement.score_threshold, why, objects) for title, of, why in views]
                panels.insert(0, Panel(title="ground truth", shapes=shapes))
                pictures.append(Picture(model=model, image=image, panels=tuple(panels), f1=moved.f1))
            if pictures:
                cards.append(MovedCard(name=cell.name, pictures=tuple(pictures)))
    return tuple(cards)


def read_annotations(split: PreparedSplit) -> dict[int, list[dict[str, Any]]]:
    """Ground-truth objects of a split, by image id."""
    by_image: dict[int, list[dict[str, Any]]] = {}
    for entry in json.loads(split.annotations.read_bytes())["annotations"]:
        by_image.setdefault(int(entry["image_id"]), []).append(entry)
    return by_image


def embed_image(path: Path, side: int = EMBEDDED_SIDE) -> str:
    """A picture as a `data:` address: JPEG, no side longer than `side` pixels."""
    picture = Image.fromarray(load_image(path))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=84, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _read_float(layout: Layout, model: str) -> Judged | None:
    """The float model is the one as first trained, whatever weights the schemes start from."""
    return _read_judged(layout.exported(model, Variant.TRAINED), layout.reference(model))


def _read_cell(layout: Layout, cell: Cell) -> Judged | None:
    """Nothing where the stored detections were made by another file than the converted one."""
    if cell.conversion.sha256 is None or cell.validation.artifact_sha256 != cell.conversion.sha256:
        return None
    return _read_judged(cell.folder, layout.validated_outputs(cell.model, cell.scheme))


def _read_judged(folder: Path, outputs: Path) -> Judged | None:
    try:
        return load_outputs(outputs), read_interface(folder)
    except MissingResultError:
        return None


def _why_absent(cell: Cell) -> str:
    return cell.conversion.reason or cell.validation.reason or "no detections stored for this image"


def _draw(
    title: str,
    judged: Judged | None,
    image: PreparedImage,
    score_threshold: float,
    remark: str,
    objects: Sequence[Mapping[str, Any]] | None = None,
) -> Panel:
    """One panel; with the image's `objects`, how well its detections find them too."""
    if judged is None or image.image_id not in judged[0].image_ids:
        return Panel(title=title, shapes=None, remark=remark)
    reference, interface = judged
    outputs: Mapping[str, np.ndarray] = reference.outputs_of(image.image_id)
    placement = place_image(image.size, interface.input)
    detections = outputs_to_detections(outputs, interface, placement).above(score_threshold)
    labels = {int(key): name for key, name in interface.labels.items()}
    f1 = None if objects is None else f1_against_truth(objects, detections)
    return Panel(title=title, shapes=detections_to_shapes(detections, labels), f1=f1)
