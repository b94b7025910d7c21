"""THE TABLE of quantization schemes: one row per column of the conversion matrix.

Parameter validation, the DVC matrix, tests, report columns and the README's table all follow these rows; a new scheme
is a new row.
"""

from dataclasses import dataclass
from enum import StrEnum


class Backend(StrEnum):
    """Runtime that a file is for."""

    TFLITE = "tflite"
    OPENVINO = "openvino"


class Variant(StrEnum):
    """Weights that a scheme starts from."""

    TRAINED = "trained"
    PRUNED = "pruned"
    QAT = "qat"
    PRUNED_QAT = "pruned_qat"


MAKERS: dict[Variant, str] = {
    Variant.TRAINED: "train",
    Variant.PRUNED: "prune",
    Variant.QAT: "qat",
    Variant.PRUNED_QAT: "qat",
}
"""The verb that makes each, which is also the section of params.yaml with its knobs."""


class Form(StrEnum):
    """How suppression ends the graph.

    `builtin` is made of standard ops, class-aware, and the same in every runtime. `postprocess_op` is
    `TFLite_Detection_PostProcess`, which MediaPipe, the Task Library and Edge TPU tools look for at the end of a
    one-stage detector: class-agnostic, because its class-aware mode loses detections as soon as a runtime has more than
    one thread.
    """

    BUILTIN = "builtin"
    POSTPROCESS_OP = "postprocess_op"


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
      form: How suppression ends the graph.
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
    form: Form = Form.BUILTIN
    max_ap_drop: float
    summary: str

    @property
    def has_integer_activations(self) -> bool:
        """Whether every quantized activation has a range."""
        return self.activations in (Precision.INT8, Precision.INT16)

    @property
    def needs_calibration(self) -> bool:
        """Whether those ranges must be measured on the calibration list: they are not what training left."""
        return self.has_integer_activations and not self.is_quantization_aware

    @property
    def is_quantization_aware(self) -> bool:
        """Whether training has seen the rounding."""
        return self.source in (Variant.QAT, Variant.PRUNED_QAT)

    @property
    def is_pruned(self) -> bool:
        """Whether training has set weights to zero."""
        return self.source in (Variant.PRUNED, Variant.PRUNED_QAT)


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
    Scheme(
        name="float32_postprocess_op",
        weights=Precision.FLOAT32,
        activations=Precision.FLOAT32,
        form=Form.POSTPROCESS_OP,
        max_ap_drop=4.0,
        summary="float32 ending in the op that mobile libraries expect: class-agnostic, which is what it loses",
    ),
    Scheme(
        name="int8_postprocess_op",
        weights=Precision.INT8,
        activations=Precision.INT8,
        form=Form.POSTPROCESS_OP,
        max_ap_drop=5.0,
        summary="int8 ending in the op that mobile libraries expect",
    ),
    Scheme(
        name="openvino_float32",
        backend=Backend.OPENVINO,
        weights=Precision.FLOAT32,
        activations=Precision.FLOAT32,
        max_ap_drop=0.2,
        summary="OpenVINO IR in 32-bit floats",
    ),
    Scheme(
        name="openvino_float16",
        backend=Backend.OPENVINO,
        weights=Precision.FLOAT16,
        activations=Precision.FLOAT32,
        max_ap_drop=0.2,
        summary="OpenVINO IR with weights stored as 16-bit floats",
    ),
    Scheme(
        name="openvino_int8",
        backend=Backend.OPENVINO,
        weights=Precision.INT8,
        activations=Precision.INT8,
        max_ap_drop=2.0,
        summary="OpenVINO IR quantized by NNCF: int8 layers, box arithmetic float",
    ),
    Scheme(
        name="qat_int8",
        source=Variant.QAT,
        weights=Precision.INT8,
        activations=Precision.INT8,
        max_ap_drop=1.0,
        summary="int8 with weights and ranges from quantization-aware training",
    ),
    Scheme(
        name="qat_int8_uint8_input",
        source=Variant.QAT,
        weights=Precision.INT8,
        activations=Precision.INT8,
        input=Precision.UINT8,
        max_ap_drop=1.0,
        summary="qat_int8 with uint8 pixels in",
    ),
    Scheme(
        name="pruned_float32",
        source=Variant.PRUNED,
        weights=Precision.FLOAT32,
        activations=Precision.FLOAT32,
        max_ap_drop=2.0,
        summary="float32 with the smallest weights at zero: smaller once compressed",
    ),
    Scheme(
        name="pruned_int8",
        source=Variant.PRUNED,
        weights=Precision.INT8,
        activations=Precision.INT8,
        max_ap_drop=3.0,
        summary="int8 with the smallest weights at zero",
    ),
    Scheme(
        name="pruned_qat_int8",
        source=Variant.PRUNED_QAT,
        weights=Precision.INT8,
        activations=Precision.INT8,
        max_ap_drop=3.0,
        summary="pruned, then quantization-aware training that keeps the zeros",
    ),
)


SCHEMES: dict[str, Scheme] = {row.name: row for row in _ROWS}


def plain_counterpart(scheme: Scheme) -> Scheme | None:
    """The row that differs only in its weights being as first trained; None if there is none, or it is that row."""
    if scheme.source is Variant.TRAINED:
        return None
    wanted = (scheme.backend, scheme.weights, scheme.activations, scheme.input, scheme.form, Variant.TRAINED)
    for row in _ROWS:
        if (row.backend, row.weights, row.activations, row.input, row.form, row.source) == wanted:
            return row
    return None
