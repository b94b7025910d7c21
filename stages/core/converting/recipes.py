"""THE TABLE of recipes: from the float32 file to the numeric types that a scheme's columns ask for."""

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_quantizer import quantizer
from ai_edge_quantizer.qtyping import TFLOperationName

from stages.core.converting.flatbuffer import Graph, read_graph
from stages.core.converting.ranges import Range, measure_ranges
from stages.core.converting.selection import Selection, select_ops
from stages.core.converting.uint8_input import feed_uint8
from stages.core.interface import ImageInput
from stages.core.schemes import Backend, Precision, Scheme

LAYER_OPS = (
    TFLOperationName.CONV_2D,
    TFLOperationName.DEPTHWISE_CONV_2D,
    TFLOperationName.FULLY_CONNECTED,
    TFLOperationName.CONV_2D_TRANSPOSE,
)
BITS = {Precision.FLOAT16: 16, Precision.INT8: 8, Precision.INT16: 16}
KINDS_BETWEEN = {
    Precision.INT8: frozenset({"ADD", "RESIZE_NEAREST_NEIGHBOR"}),
    Precision.INT16: frozenset[str](),
}
"""Ops between layers that are quantized with them, by type of the activations."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a recipe starts from.

    Attributes:
      content: The float32 .tflite file.
      images: Calibration images.
      spec: The input's contract.
    """

    content: bytes
    images: Sequence[Path]
    spec: ImageInput


Recipe = Callable[[Source, Scheme], bytes]


def keep_floats(source: Source, scheme: Scheme) -> bytes:
    """The file as it is."""
    del scheme
    return source.content


def cast_weights(source: Source, scheme: Scheme) -> bytes:
    """Weights stored as shorter floats, widened when the file is opened."""
    tool = quantizer.Quantizer(bytearray(source.content))
    for op in LAYER_OPS:
        tool.add_weight_only_config(".*", op, BITS[scheme.weights], algorithm_key=quantizer.AlgorithmName.FLOAT_CASTING)
    return _quantize(tool)


def quantize_weights(source: Source, scheme: Scheme) -> bytes:
    """Integer weights, one scale per output channel; the runtime quantizes activations as it goes."""
    tool = quantizer.Quantizer(bytearray(source.content))
    for op in LAYER_OPS:
        tool.add_dynamic_config(".*", op, BITS[scheme.weights])
    return _quantize(tool)


def quantize_layers(source: Source, scheme: Scheme) -> bytes:
    """Integer weights and activations in the layers and between them; all that computes coordinates stays float."""
    graph = read_graph(source.content, "the exported graph")
    selection = select_ops(graph, KINDS_BETWEEN[scheme.activations])
    ranges = measure_ranges(source.content, selection.tensors(graph), source.images, source.spec)
    tool = quantizer.Quantizer(bytearray(source.content))
    bits = BITS[scheme.activations], BITS[scheme.weights]
    for op in LAYER_OPS:
        tool.add_static_config(".*", op, *bits)
    for pattern, op in _name_between(graph, selection):
        tool.add_static_config(pattern, op, *bits)
    return _quantize(tool, {graph.tensors[index].name: found for index, found in ranges.items()})


RECIPES: dict[tuple[Backend, Precision, Precision], Recipe] = {
    (Backend.TFLITE, Precision.FLOAT32, Precision.FLOAT32): keep_floats,
    (Backend.TFLITE, Precision.FLOAT16, Precision.FLOAT32): cast_weights,
    (Backend.TFLITE, Precision.INT8, Precision.FLOAT32): quantize_weights,
    (Backend.TFLITE, Precision.INT8, Precision.INT8): quantize_layers,
    (Backend.TFLITE, Precision.INT8, Precision.INT16): quantize_layers,
}
"""(backend, weights, activations) to what makes such a file."""

INPUT_EDITS: dict[Precision, Callable[[bytes], bytes]] = {
    Precision.FLOAT32: bytes,
    Precision.UINT8: feed_uint8,
}
"""Type of the image tensor to what gives the finished file that input."""


def make_file(source: Source, scheme: Scheme) -> bytes:
    """The file of one row of the scheme table.

    Raises:
      ArtifactError: if the source is not a whole .tflite flatbuffer.
      DataError: if calibration images are needed and there are none.
    """
    recipe = RECIPES[scheme.backend, scheme.weights, scheme.activations]
    return INPUT_EDITS[scheme.input](recipe(source, scheme))


def _name_between(graph: Graph, selection: Selection) -> list[tuple[str, TFLOperationName]]:
    """Patterns that meet exactly the selected ops; the quantizer knows an op by the names of its outputs."""
    return [
        (
            "^" + re.escape("".join(f"{graph.tensors[index].name};" for index in op.outputs)) + "$",
            TFLOperationName(op.kind),
        )
        for op in selection.between
    ]


def _quantize(tool: quantizer.Quantizer, ranges: Mapping[str, Range] | None = None) -> bytes:
    known = None
    if ranges is not None:
        known = {name: {"min": np.array([r.low]), "max": np.array([r.high])} for name, r in ranges.items()}
    # Not all of the quantizer's progress bars can be switched off.
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = tool.quantize(known, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)
