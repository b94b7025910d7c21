"""THE TABLE of quantization schemes: one row per column of the conversion matrix.

Parameter validation, the DVC matrix, tests, report columns and the README's table all follow these rows; a new scheme
is a new row.
"""

from dataclasses import dataclass
from enum import StrEnum


class Backend(StrEnum):
    """Runtime that a file is for."""

    TFLITE = "tflite"


class Variant(StrEnum):
    """Weights that a scheme starts from."""

    TRAINED = "trained"


class Precision(StrEnum):
    """Numeric type of weights, activations or input pixels."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """One column of the conversion matrix.

    Attributes:
      name: What reports, paths and params.yaml call it.
      backend: Runtime that the file is for.
      source: Variant of the weights that it starts from.
      weights: Type in which convolution, depthwise and fully-connected weights are stored.
      activations: Type in which those layers compute.
      input: Type of the image tensor; pixel values are 0..255 in all of them.
      max_ap_drop: Largest fall of box or mask AP against the float model that `gate` accepts unless params.yaml says
        otherwise, in AP points (0..100).
      summary: One line for tables and `--help`.
    """

    name: str
    backend: Backend = Backend.TFLITE
    source: Variant = Variant.TRAINED
    weights: Precision
    activations: Precision
    input: Precision = Precision.FLOAT32
    max_ap_drop: float
    summary: str

    @property
    def needs_calibration(self) -> bool:
        """Whether activation ranges must be measured on the calibration list."""
        return self.activations in (Precision.INT8, Precision.INT16)


_ROWS = (
    Scheme(
        name="float32",
        weights=Precision.FLOAT32,
        activations=Precision.FLOAT32,
        max_ap_drop=0.2,
        summary="32-bit floats throughout: the reference among the shipped files",
    ),
    Scheme(
        name="float16",
        weights=Precision.FLOAT16,
        activations=Precision.FLOAT32,
        max_ap_drop=0.2,
        summary="weights stored as 16-bit floats, computed in 32: half the size",
    ),
    Scheme(
        name="dynamic_range",
        weights=Precision.INT8,
        activations=Precision.FLOAT32,
        max_ap_drop=1.0,
        summary="int8 weights; activations quantized on the fly, no calibration",
    ),
    Scheme(
        name="int8",
        weights=Precision.INT8,
        activations=Precision.INT8,
        max_ap_drop=2.0,
        summary="int8 weights and activations; box arithmetic and post-processing float",
    ),
    Scheme(
        name="int8_uint8_input",
        weights=Precision.INT8,
        activations=Precision.INT8,
        input=Precision.UINT8,
        max_ap_drop=2.0,
        summary="int8 with uint8 pixels in: what a camera delivers",
    ),
    Scheme(
        name="int16x8",
        weights=Precision.INT8,
        activations=Precision.INT16,
        max_ap_drop=1.0,
        summary="int8 weights, int16 activations: near-float accuracy, reference kernels",
    ),
)


SCHEMES: dict[str, Scheme] = {row.name: row for row in _ROWS}
