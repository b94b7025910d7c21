"""THE TABLE of quantization schemes: one row per column of the conversion matrix.

Parameter validation, the DVC matrix, tests, report columns and the README's table all follow these rows; a new scheme
is a new row.
"""

from dataclasses import dataclass

from stages.core.results.kinds import Backend, Form, Precision, Variant


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
      rest: Type in which other floats are stored; float16 only where params.yaml asks for it.
    """

    name: str
    backend: Backend = Backend.TFLITE
    source: Variant = Variant.TRAINED
    weights: Precision
    activations: Precision
    input: Precision = Precision.FLOAT32
    form: Form = Form.BUILTIN
    rest: Precision = Precision.FLOAT32

    @property
    def has_integer_activations(self) -> bool:
        """Whether every quantized activation has a range."""
        return self.activations in (Precision.INT8, Precision.INT16, Precision.UINT8)

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
    ),
    Scheme(
        name="float16",
        weights=Precision.FLOAT16,
        activations=Precision.FLOAT32,
    ),
    Scheme(
        name="dynamic_range",
        weights=Precision.INT8,
        activations=Precision.FLOAT32,
    ),
    Scheme(
        name="int8",
        weights=Precision.INT8,
        activations=Precision.INT8,
    ),
    Scheme(
        name="int8_uint8_input",
        weights=Precision.INT8,
        activations=Precision.INT8,
        input=Precision.UINT8,
    ),
    Scheme(
        name="int16x8",
        weights=Precision.INT8,
        activations=Precision.INT16,
    ),
    Scheme(
        name="float32_postprocess_op",
        weights=Precision.FLOAT32,
        activations=Precision.FLOAT32,
        form=Form.POSTPROCESS_OP,
    ),
    Scheme(
        name="int8_postprocess_op",
        weights=Precision.INT8,
        activations=Precision.INT8,
        form=Form.POSTPROCESS_OP,
    ),
    Scheme(
        name="openvino_float32",
        backend=Backend.OPENVINO,
        weights=Precision.FLOAT32,
        activations=Precision.FLOAT32,
    ),
    Scheme(
        name="openvino_float16",
        backend=Backend.OPENVINO,
        weights=Precision.FLOAT16,
        activations=Precision.FLOAT32,
    ),
    Scheme(
        name="openvino_int8",
        backend=Backend.OPENVINO,
        weights=Precision.INT8,
        activations=Precision.INT8,
    ),
    Scheme(
        name="qat_int8",
        source=Variant.QAT,
        weights=Precision.INT8,
        activations=Precision.INT8,
    ),
    Scheme(
        name="qat_int8_uint8_input",
        source=Variant.QAT,
        weights=Precision.INT8,
        activations=Precision.INT8,
        input=Precision.UINT8,
    ),
    Scheme(
        name="qat_int8_postprocess_op",
        source=Variant.QAT,
        weights=Precision.INT8,
        activations=Precision.INT8,
        form=Form.POSTPROCESS_OP,
    ),
    Scheme(
        name="qat_uint8_postprocess_op",
        source=Variant.QAT,
        weights=Precision.UINT8,
        activations=Precision.UINT8,
        input=Precision.UINT8,
        form=Form.POSTPROCESS_OP,
    ),
    Scheme(
        name="pruned_float32",
        source=Variant.PRUNED,
        weights=Precision.FLOAT32,
        activations=Precision.FLOAT32,
    ),
    Scheme(
        name="pruned_int8",
        source=Variant.PRUNED,
        weights=Precision.INT8,
        activations=Precision.INT8,
    ),
    Scheme(
        name="pruned_qat_int8",
        source=Variant.PRUNED_QAT,
        weights=Precision.INT8,
        activations=Precision.INT8,
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
