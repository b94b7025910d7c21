"""`brought`: models that somebody else has finished, as rows beside those of the detector table."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from stages.core.base import layout
from stages.core.base.layout import BROUGHT_FOLDER
from stages.core.params.section import Positive, Section
from stages.core.results.interface import BoxFormat
from stages.core.tables.detectors import DETECTORS, RENAMED_DETECTORS


class BroughtKind(StrEnum):
    """What the file is."""

    FROZEN_GRAPH = "frozen_graph"
    SAVED_MODEL = layout.SAVED_MODEL
    KERAS_WEIGHTS = "keras_weights"
    TFLITE = "tflite"
    OPENVINO = "openvino"


class BroughtLayout(StrEnum):
    """What the outputs are."""

    RAW_HEADS = "raw_heads"
    DETECTIONS = "detections"
    MODEL_GARDEN = "model_garden"
    MATTERPORT = "matterport"


@dataclass(frozen=True, kw_only=True)
class OutputNames:
    """A row of the table of layouts.

    Attributes:
      needed: Names that `outputs` has; optional: those that it may have, one of them at most.
      conventions: Fields of the entry that this layout decides unless the entry states them.
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    conventions: tuple[tuple[str, Any], ...] = ()


FINAL = ("boxes", "scores", "classes", "num_detections")
MASKS = ("masks", "reframed_masks")
"""Masks within each box, [1, N, h, w]; and those over the whole input, [1, N, H, W] (`detection_masks_reframed`)."""

LAYOUTS: dict[BroughtLayout, OutputNames] = {
    BroughtLayout.RAW_HEADS: OutputNames(needed=("boxes", "scores", "anchors")),
    BroughtLayout.DETECTIONS: OutputNames(needed=FINAL, optional=MASKS),
    BroughtLayout.MODEL_GARDEN: OutputNames(
        needed=FINAL, optional=MASKS, conventions=(("box_format", "yxyx_pixels"), ("first_class", 1))
    ),
    BroughtLayout.MATTERPORT: OutputNames(needed=("detections", "masks")),
}
"""THE TABLE of what a model's outputs are.

raw_heads: box encodings float32 [1, A, 4] (dy, dx, dh, dw times `box_scales`), probabilities [1, A, C], and the anchors
[A, 4], which are added inside the pipeline's own post-processing.
detections: what suppression has left, as the Object Detection API and TFLite_Detection_PostProcess give it: boxes
[1, N, 4], scores [1, N], classes [1, N], and [1] how many rows are filled; in any order and type, masks or none.
model_garden: the same as TF-Vision exports it: boxes in pixels of the input, classes from 1 as 0 is the background.
matterport: finished detections float32 [1, D, 6] (y_min, x_min, y_max, x_max over the sides less one, class, score;
zeros behind the last one), masks [1, D, h, w, C] by class, the background in channel 0. Suppression is the model's own.
"""
FITTING: dict[BroughtKind, tuple[BroughtLayout, ...]] = {
    BroughtKind.FROZEN_GRAPH: (BroughtLayout.RAW_HEADS,),
    BroughtKind.SAVED_MODEL: tuple(BroughtLayout),
    BroughtKind.KERAS_WEIGHTS: (BroughtLayout.MATTERPORT, BroughtLayout.DETECTIONS, BroughtLayout.MODEL_GARDEN),
    BroughtKind.TFLITE: (BroughtLayout.DETECTIONS, BroughtLayout.MODEL_GARDEN),
    BroughtKind.OPENVINO: (BroughtLayout.DETECTIONS, BroughtLayout.MODEL_GARDEN),
}
"""Layouts that are read from each kind of file."""
REWRITTEN = (BroughtKind.SAVED_MODEL, BroughtKind.KERAS_WEIGHTS)
"""Kinds whose graphs are emitted anew, unless they are read as raw heads: inputs can be bound, and ops replaced."""

PerChannel = float | tuple[float, float, float]
Scale = Annotated[float, Field(gt=0)]


class BroughtInput(Section):
    """The image input."""

    name: str
    """Of the tensor that takes the image: in a frozen graph any inner node, so that what is before it is cut off."""
    size: tuple[Positive, Positive]
    """Height, width."""
    mean: PerChannel
    deviation: PerChannel
    """Input statistics: the tensor takes (pixel - mean) / deviation, pixels 0..255; one number or one per channel."""
    color_order: Literal["RGB", "BGR"] = "RGB"
    resize: Literal["letterbox", "stretch"] = "stretch"

    @field_validator("deviation")
    @classmethod
    def _divides(cls, value: PerChannel) -> PerChannel:
        if min(value if isinstance(value, tuple) else (value,)) <= 0:
            raise ValueError(f"pixels are divided by it: expected numbers above 0 (found {value!r})")
        return value

    @property
    def means(self) -> tuple[float, float, float]:
        return self.mean if isinstance(self.mean, tuple) else (self.mean,) * 3

    @property
    def deviations(self) -> tuple[float, float, float]:
        return self.deviation if isinstance(self.deviation, tuple) else (self.deviation,) * 3


class BroughtModel(Section):
    """One finished model."""

    kind: BroughtKind
    path: str
    """File or folder below models/brought, relative to the project's root."""
    layout: BroughtLayout
    input: BroughtInput
    outputs: dict[str, str]
    """What the layout asks for, to tensor names."""
    labels: str | Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """The model's classes: names in the order of its outputs, or a file below models/brought: an API label map
    (.pbtxt), or one name a line (.txt), where `???` stands for an id without a class. A .tflite file may have
    them attached: then nothing need be stated."""
    background: bool = True
    """Whether the first column of the scores is the background."""
    box_scales: tuple[Scale, Scale, Scale, Scale] = (10.0, 10.0, 5.0, 5.0)
    """raw_heads: what training multiplied (dy, dx, dh, dw) with."""
    anchor_format: Literal["corners", "centers"] = "corners"
    """raw_heads: (y_min, x_min, y_max, x_max) or (y_center, x_center, height, width), over the input's sides."""
    box_format: BoxFormat = "yxyx_normalized"
    """detections, model_garden: order of a box's four numbers; over the input's sides, or in its pixels."""
    first_class: Literal[0, 1] = 0
    """detections, model_garden: what `classes` holds for the first class of `labels`."""
    bound: dict[str, str] = Field(default_factory=dict)
    """Other inputs, by name, to the .npy file below models/brought that holds their value: anchors, image meta."""
    signature: str = "serving_default"
    """saved_model: which of its functions."""
    code: str | None = None
    """keras_weights: Python file below models/brought with a function `build_model()`. It is run: name only what you
    trust."""
    substitutions: str | None = None
    """Your own rows for ops: a Python file with SUBSTITUTIONS, which is run, or a YAML file that changes attributes."""

    @model_validator(mode="before")
    @classmethod
    def _follows_its_layout(cls, value: Any) -> Any:
        layout = value.get("layout") if isinstance(value, dict) else None
        row = LAYOUTS.get(BroughtLayout(layout)) if layout in list(BroughtLayout) else None
        return value if row is None else {**dict(row.conventions), **value}

    @field_validator("path", "labels", "code", "substitutions")
    @classmethod
    def _inside_the_tracked_folder(cls, value: Any) -> Any:
        return check_brought_path(value) if isinstance(value, str) else value

    @field_validator("bound")
    @classmethod
    def _values_inside_the_tracked_folder(cls, value: dict[str, str]) -> dict[str, str]:
        return {name: check_brought_path(file) for name, file in value.items()}

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.layout not in FITTING[self.kind]:
            raise ValueError(
                f"layout: a {self.kind} is read as {' or '.join(FITTING[self.kind])} (found {str(self.layout)!r})"
            )
        _check_outputs(self.outputs, LAYOUTS[self.layout], self.layout)
        if self.labels is None and self.kind is not BroughtKind.TFLITE:
            raise ValueError("labels: only a .tflite file may have them attached; state the model's classes")
        if (self.code is None) == (self.kind is BroughtKind.KERAS_WEIGHTS):
            raise ValueError("code: the file that builds the model belongs to keras_weights, and only to it")
        rewritten = self.kind in REWRITTEN and self.layout is not BroughtLayout.RAW_HEADS
        if not rewritten and (self.bound or self.substitutions):
            what = f"a {self.kind} read as {self.layout}"
            raise ValueError(f"bound, substitutions: nothing is bound or replaced in {what}")
        return self


def _check_outputs(outputs: dict[str, str], row: OutputNames, layout: BroughtLayout) -> None:
    """Raises ValueError unless `outputs` has the names of its layout."""
    chosen = [name for name in row.optional if name in outputs]
    if sorted(outputs) == sorted((*row.needed, *chosen)) and len(chosen) < 2:
        return
    further = f", and may have {' or '.join(row.optional)}" if row.optional else ""
    raise ValueError(f"outputs: layout {layout} has {', '.join(row.needed)}{further} (found {', '.join(outputs)})")


def check_brought_path(value: str) -> str:
    """A path below models/brought, which DVC watches for all brought models.

    Raises:
      ValueError: for any other, with what to do.
    """
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or path.parts[:2] != PurePosixPath(BROUGHT_FOLDER).parts:
        raise ValueError(
            f"{value!r} is not below {BROUGHT_FOLDER}/, where DVC watches brought models: put the file there "
            f"(`cp ... {BROUGHT_FOLDER}/ && dvc add {BROUGHT_FOLDER}/{path.name}`, or `dvc import-url`) and name it so"
        )
    return value


def check_brought_names(names: Any) -> None:
    """Raises ValueError unless the names can be rows: parts of a stage's name, and no row of the detector table."""
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise ValueError(f"{name!r}: a model's name is made of letters, digits and _, as it is part of stage names")
        if name in DETECTORS or name in RENAMED_DETECTORS or name == "common":
            raise ValueError(f"{name!r} is a row of the detector table; choose another name")
