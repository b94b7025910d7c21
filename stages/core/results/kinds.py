"""The closed sets of names that results, paths and tables share."""

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
"""The stage that makes each, which is also the section of params.yaml with its parameters."""

SOURCES: dict[Variant, Variant] = {
    Variant.PRUNED: Variant.TRAINED,
    Variant.QAT: Variant.TRAINED,
    Variant.PRUNED_QAT: Variant.PRUNED,
}
"""Weights that each refinement starts from."""


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
