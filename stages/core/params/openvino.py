"""`convert.openvino`: what OpenVINO files are asked to be beyond their scheme."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from stages.core.params.section import Positive, Section

TENSOR_NAMES = (
    "image",
    "detection_boxes",
    "detection_scores",
    "detection_classes",
    "detection_masks",
    "num_detections",
)
"""Of every file's tensors; masks only where the model has them."""


class OpenvinoParams(Section):
    """What OpenVINO files are asked to be beyond their scheme; each file's interface.json states the outcome."""

    batch: Annotated[int, Field(ge=1, le=64)] = 1
    """Images of one inference."""
    size: tuple[Positive, Positive] | None = None
    """Height, width of the input; None: as exported. Only a brought IR can be reshaped, and not every one."""
    input: Literal["as_exported", "uint8_rgb", "uint8_bgr"] = "as_exported"
    """uint8_*: the file takes pixels as a camera or OpenCV gives them; mean, scale, colour order and layout are its
    own business."""
    int8_rest: Literal["float32", "float16"] = "float32"
    """How openvino_int8 stores what is not quantized."""
    names: dict[str, str] = Field(default_factory=dict)
    """More names for tensors, by the one that they have anyway."""

    @field_validator("names")
    @classmethod
    def _names_are_new(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if name not in TENSOR_NAMES:
                raise ValueError(f"no tensor {name!r}; tensors are {', '.join(TENSOR_NAMES)}")
        taken = [*TENSOR_NAMES, *value.values()]
        for name, other in value.items():
            if not other or taken.count(other) > 1 or not other.isprintable():
                raise ValueError(f"{name}: {other!r} is empty or the name of another tensor")
        return value


NOTHING_ASKED = OpenvinoParams()
"""Files as their scheme says."""
