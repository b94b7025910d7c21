"""THE TABLE of TFLite recipes: from the float32 file to the numeric types that a scheme's columns ask for."""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from ai_edge_quantizer import quantizer
from ai_edge_quantizer.qtyping import TFLOperationName

from stages.core.base.errors import ArtifactError
from stages.core.base.layout import MODEL_FILES, QUANTIZED_FILE, TFLITE_FILES
from stages.core.base.native_output import silence_native
from stages.core.converting.client_metadata import finish_file
from stages.core.converting.contradictions import check_graph
from stages.core.converting.fake_quant import complete_ranges, strip_fake_quant
from stages.core.converting.job import ConversionJob, Made
from stages.core.converting.large_kernels import large_kernels_allowed
from stages.core.converting.mask_blocks import skip_empty_masks
from stages.core.converting.ranges import Calibration, Range, measure_ranges
from stages.core.converting.selection import Between, Selection, select_ops
from stages.core.converting.uint8_ending import end_with_op
from stages.core.converting.uint8_input import feed_uint8
from stages.core.graphs.flatbuffer import Graph, read_graph, read_model_bytes
from stages.core.results.brought import read_brought_facts
from stages.core.results.interface import ImageInput
from stages.core.results.kinds import Backend, Precision
from stages.core.tables.schemes import Scheme

LAYER_OPS = (
    TFLOperationName.CONV_2D,
    TFLOperationName.DEPTHWISE_CONV_2D,
    TFLOperationName.FULLY_CONNECTED,
    TFLOperationName.CONV_2D_TRANSPOSE,
)
BITS = {Precision.FLOAT16: 16, Precision.INT8: 8, Precision.INT16: 16}
KINDS_BETWEEN: dict[Precision, dict[str, Between]] = {
    Precision.INT8: {
        "ADD": Between(),
        "RESIZE_NEAREST_NEIGHBOR": Between(),
    },
    Precision.INT16: {},
}
"""Ops between layers that are quantized with them, by type of the activations."""
KINDS_OF_ALIGNMENT: dict[str, Between] = {
    "RESHAPE": Between(data_inputs=1),
    "CONCATENATION": Between(),
    "GATHER": Between(data_inputs=1),
    "MUL": Between(data_inputs=1, after=frozenset({"GATHER", "CONV_2D"})),
}
"""Region alignment in int8: a table of feature cells (a pyramid level's batch norm may be a MUL and an ADD), looked up,
weighted, and summed by a convolution. Only where ranges are measured: training does not round in there."""


@dataclass(frozen=True, kw_only=True)
class RecipeInput:
    """What a recipe starts from.

    Attributes:
      content: The float32 .tflite file.
      images: Calibration images.
      spec: The input's contract.
      mask_block: Detections of one block of the mask head; 0 leaves it in one piece.
      quantized: A finished uint8 file up to the heads; None where `export` made none.
    """

    content: bytes
    images: Sequence[Path]
    spec: ImageInput
    mask_block: int = 0
    quantized: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class File:
    """The bytes of a .tflite file, the type of its image tensor, and what making them told."""

    content: bytes
    input: Precision = Precision.FLOAT32
    made: Made = field(default_factory=Made)


Recipe = Callable[[RecipeInput, Scheme], File]


def make_tflite(job: ConversionJob) -> Made:
    """Writes the .tflite of one row.

    Raises:
      ArtifactError: if the exported file is not a whole .tflite flatbuffer, or is one that the tools cannot quantize.
      MissingResultError: if there is none.
    """
    path = job.exported / TFLITE_FILES[job.scheme.form]
    content = read_model_bytes(path)
    facts = read_brought_facts(job.exported)
    if facts is not None and facts.finished and not facts.is_float:
        (job.folder / MODEL_FILES[Backend.TFLITE][0]).write_bytes(content)
        return Made()
    check_graph(read_graph(content, path), job.interface.outputs, path)
    quantized = job.exported / QUANTIZED_FILE
    source = RecipeInput(
        content=content,
        images=job.images,
        spec=job.interface.input,
        mask_block=job.mask_block if facts is None else 0,
        quantized=read_model_bytes(quantized) if quantized.is_file() else None,
    )
    file = make_file(source, job.scheme)
    if facts is not None and job.mask_block:
        file = cut_foreign_masks(file, job.mask_block)
    (job.folder / MODEL_FILES[Backend.TFLITE][0]).write_bytes(finish_file(file.content, job.interface))
    return file.made


def cut_foreign_masks(file: File, block: int) -> File:
    """`skip_empty_masks` of a brought model; one whose masks are made otherwise than ours stays in one piece."""
    try:
        return replace(file, content=skip_empty_masks(file.content, block))
    except ArtifactError as error:
        why = str(error).partition("; ")[0]
        note = f"masks are computed for all detections, filled or not: {why}"
        return replace(file, made=replace(file.made, notes=(*file.made.notes, note)))


def keep_floats(source: RecipeInput, scheme: Scheme) -> File:
    """The file as it is."""
    del scheme
    return File(content=source.content)


def cast_weights(source: RecipeInput, scheme: Scheme) -> File:
    """Weights stored as shorter floats, widened when the file is opened."""
    tool = quantizer.Quantizer(bytearray(source.content))
    for op in LAYER_OPS:
        tool.add_weight_only_config(".*", op, BITS[scheme.weights], algorithm_key=quantizer.AlgorithmName.FLOAT_CASTING)
    return File(content=_quantize(tool))


def quantize_weights_only(source: RecipeInput, scheme: Scheme) -> File:
    """Integer weights, one scale per output channel; the runtime quantizes activations as it goes."""
    tool = quantizer.Quantizer(bytearray(source.content))
    for op in LAYER_OPS:
        tool.add_dynamic_config(".*", op, BITS[scheme.weights])
    return File(content=_quantize(tool))


def quantize_to_integers(source: RecipeInput, scheme: Scheme) -> File:
    """Integer weights and activations in the layers and between them; all that computes coordinates stays float.

    Ranges are those that quantization-aware training left in the file; the others are measured on the images.
    """
    stripped = strip_fake_quant(source.content)
    graph = read_graph(stripped.content, "the exported graph")
    selection = select_ops(graph, choose_kinds(scheme, learned=bool(stripped.ranges)))
    ranges, missing = complete_ranges(graph, selection.tensors(graph), stripped.ranges)
    made = Made()
    if missing:
        wanted = frozenset(index for index in selection.tensors(graph) if index not in ranges)
        count = graph.outputs.get("num_detections")
        seen = measure_ranges(stripped.content, wanted, source.images, source.spec, count=count)
        ranges |= seen.ranges
        made = Made(
            calibration_images=len(source.images),
            calibration_detections=seen.num_detections,
            notes=(*_note_missing(stripped.ranges, missing), *_note_blindness(graph, seen, len(source.images))),
        )
    tool = quantizer.Quantizer(bytearray(stripped.content))
    bits = BITS[scheme.activations], BITS[scheme.weights]
    for op in LAYER_OPS:
        tool.add_static_config(".*", op, *bits)
    for pattern, op in _name_between(graph, selection):
        tool.add_static_config(pattern, op, *bits)
    content = _quantize(tool, {graph.tensors[index].name: found for index, found in ranges.items()})
    return File(content=content, made=made)


def finish_uint8(source: RecipeInput, scheme: Scheme) -> File:
    """The uint8 file that the converter made of a graph with fake-quant nodes, with the post-processing op at its end.

    Raises:
      ArtifactError: if there is none.
    """
    del scheme
    if source.quantized is None:
        raise ArtifactError(f"no {QUANTIZED_FILE} was exported")
    return File(content=end_with_op(source.quantized, source.content, image=source.spec.name), input=Precision.UINT8)


def choose_kinds(scheme: Scheme, *, learned: bool) -> dict[str, Between]:
    """Kinds of ops that join the layers; `learned`: ranges come from training."""
    kinds = KINDS_BETWEEN[scheme.activations]
    return kinds if learned or scheme.activations is not Precision.INT8 else kinds | KINDS_OF_ALIGNMENT


RECIPES: dict[tuple[Backend, Precision, Precision], Recipe] = {
    (Backend.TFLITE, Precision.FLOAT32, Precision.FLOAT32): keep_floats,
    (Backend.TFLITE, Precision.FLOAT16, Precision.FLOAT32): cast_weights,
    (Backend.TFLITE, Precision.INT8, Precision.FLOAT32): quantize_weights_only,
    (Backend.TFLITE, Precision.INT8, Precision.INT8): quantize_to_integers,
    (Backend.TFLITE, Precision.INT8, Precision.INT16): quantize_to_integers,
    (Backend.TFLITE, Precision.UINT8, Precision.UINT8): finish_uint8,
}
"""(backend, weights, activations) to what makes such a file."""

INPUT_EDITS: dict[Precision, Callable[[bytes], bytes]] = {
    Precision.FLOAT32: bytes,
    Precision.UINT8: feed_uint8,
}
"""Type of the image tensor to what gives the finished file that input."""


def make_file(source: RecipeInput, scheme: Scheme) -> File:
    """The file of one row of the scheme table.

    Raises:
      ArtifactError: if the source is not a whole .tflite flatbuffer, or has a mask head that cannot be cut.
      DataError: if calibration images are needed and there are none.
    """
    recipe = RECIPES[scheme.backend, scheme.weights, scheme.activations]
    file = recipe(source, scheme)
    content = file.content if file.input is scheme.input else INPUT_EDITS[scheme.input](file.content)
    return replace(file, content=skip_empty_masks(content, source.mask_block) if source.mask_block else content)


def _note_missing(learned: Mapping[str, Range], missing: Sequence[str]) -> tuple[str, ...]:
    if not learned:
        return ()
    return (f"{len(missing)} tensors had no range from training and were calibrated: {', '.join(missing)}",)


def _note_blindness(graph: Graph, seen: Calibration, num_images: int) -> tuple[str, ...]:
    if seen.num_detections or "detection_masks" not in graph.outputs:
        return ()
    return (
        f"none of {num_images} calibration images gives a detection: the mask head's ranges come from empty regions",
    )


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
    # Not all of the quantizer's progress bars can be switched off, and its runtime writes past Python's stderr.
    with silence_native(), warnings.catch_warnings(), large_kernels_allowed():
        warnings.simplefilter("ignore", UserWarning)
        result = tool.quantize(known, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)
