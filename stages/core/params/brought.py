"""`brought`: models that somebody else has finished, as rows beside those of the detector table."""

import re
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
    MATTERPORT = "matterport"


LAYOUTS: dict[BroughtLayout, tuple[str, ...]] = {
    BroughtLayout.RAW_HEADS: ("boxes", "scores", "anchors"),
    BroughtLayout.DETECTIONS: ("boxes", "scores", "classes", "num_detections"),
    BroughtLayout.MATTERPORT: ("detections", "masks"),
}
"""Names that `outputs` has, by layout.

raw_heads: box encodings float32 [1, A, 4] (dy, dx, dh, dw times `box_scales`), probabilities [1, A, C], and the anchors
[A, 4], which are added inside the pipeline's own post-processing.
detections: what suppression has left, as the Object Detection API and TFLite_Detection_PostProcess give it: boxes
[1, N, 4], scores [1, N], classes [1, N], and [1] how many rows are filled; in any order and type.
matterport: finished detections float32 [1, D, 6] (y_min, x_min, y_max, x_max over the sides less one, class, score;
zeros behind the last one), masks [1, D, h, w, C] by class, the background in channel 0. Suppression is the model's own.
"""
FITTING: dict[BroughtKind, tuple[BroughtLayout, ...]] = {
    BroughtKind.FROZEN_GRAPH: (BroughtLayout.RAW_HEADS,),
    BroughtKind.SAVED_MODEL: (BroughtLayout.RAW_HEADS, BroughtLayout.DETECTIONS, BroughtLayout.MATTERPORT),
    BroughtKind.KERAS_WEIGHTS: (BroughtLayout.MATTERPORT,),
    BroughtKind.TFLITE: (BroughtLayout.DETECTIONS,),
    BroughtKind.OPENVINO: (BroughtLayout.DETECTIONS,),
}
"""Layouts that are read from each kind of file."""

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
    labels: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """The model's classes: names in the order of its outputs, or a file below models/brought: an API label map
    (.pbtxt), or one name a line (.txt), where `???` holds the place of an id without a class."""
    background: bool = True
    """Whether the first column of the scores is the background."""
    box_scales: tuple[Scale, Scale, Scale, Scale] = (10.0, 10.0, 5.0, 5.0)
    """raw_heads: what training multiplied (dy, dx, dh, dw) with."""
    anchor_format: Literal["corners", "centers"] = "corners"
    """raw_heads: (y_min, x_min, y_max, x_max) or (y_center, x_center, height, width), over the input's sides."""
    box_format: BoxFormat = "yxyx_normalized"
    """detections: order of a box's four numbers; over the input's sides, or in its pixels."""
    first_class: Literal[0, 1] = 0
    """detections: what `classes` holds for the first class of `labels`."""
    bound: dict[str, str] = Field(default_factory=dict)
    """Other inputs, by name, to the .npy file below models/brought that holds their value: anchors, image meta."""
    signature: str = "serving_default"
    """saved_model: which of its functions."""
    code: str | None = None
    """keras_weights: Python file below models/brought with a function `build_model()`. It is run: name only what you
    trust."""
    substitutions: str | None = None
    """Your own rows for ops: a Python file with SUBSTITUTIONS, which is run, or a YAML file that changes attributes."""

    @field_validator("path", "labels", "code", "substitutions")
    @classmethod
    def _inside_the_tracked_folder(cls, value: Any) -> Any:
        return check_place(value) if isinstance(value, str) else value

    @field_validator("bound")
    @classmethod
    def _values_inside_the_tracked_folder(cls, value: dict[str, str]) -> dict[str, str]:
        return {name: check_place(place) for name, place in value.items()}

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.layout not in FITTING[self.kind]:
            raise ValueError(
                f"layout: a {self.kind} is read as {' or '.join(FITTING[self.kind])} (found {str(self.layout)!r})"
            )
        wanted = LAYOUTS[self.layout]
        if sorted(self.outputs) != sorted(wanted):
            raise ValueError(f"outputs: layout {self.layout} has {', '.join(wanted)} (found {', '.join(self.outputs)})")
        if (self.code is None) == (self.kind is BroughtKind.KERAS_WEIGHTS):
            raise ValueError("code: the file that builds the model belongs to keras_weights, and only to it")
        if self.layout is not BroughtLayout.MATTERPORT and (self.bound or self.substitutions):
            raise ValueError(f"bound, substitutions: nothing is bound or replaced in a model read as {self.layout}")
        return self


def check_place(value: str) -> str:
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
