"""SavedModels to OpenVINO IR: floats by OpenVINO's own converter, int8 by NNCF's post-training quantization."""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.properties.hint as hints
from rich.console import Console
from rich.progress import track

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.layout import MODEL_FILES, SAVED_MODEL
from stages.core.base.plain_paths import plain_path
from stages.core.converting.ir_options import apply_options
from stages.core.converting.job import ConversionJob, Made
from stages.core.converting.proof import prove_graph
from stages.core.converting.selection import Between, select_ops
from stages.core.converting.sorting import speed_up_searches
from stages.core.datasets.prepared import load_image
from stages.core.graphs.ir import model_to_graph, read_ir_graph
from stages.core.graphs.reshaping import reshape_image
from stages.core.processing.preprocess import preprocess_image
from stages.core.results.brought import read_brought_facts
from stages.core.results.conversion import Proof
from stages.core.results.interface import ImageInput, Interface
from stages.core.results.kinds import Backend, Precision
from stages.core.running.openvino import describe_outputs, describe_ports
from stages.core.tables.schemes import Scheme

KINDS_BETWEEN = {kind: Between() for kind in ("Add", "Clamp", "Relu")}
"""Ops between layers that may be quantized with them; the activations belong to the layer before them."""
PASSIVE_KINDS = frozenset({"Constant", "Parameter", "Result", "Convert", "ShapeOf"})


def make_ir(job: ConversionJob) -> Made:
    """Writes model.xml and model.bin.

    Raises:
      MissingResultError: if nothing was exported.
      ArtifactError: if OpenVINO cannot read the SavedModel, its outputs are not the interface's, or no calibration
        image shows a mask head any object.
    """
    model = read_exported(job)
    made = Made()
    if job.scheme.activations is Precision.INT8:
        model, made = quantize_ir(model, job)
    facts = read_brought_facts(job.exported)
    model = apply_options(model, job.interface, job.openvino, {} if facts is None else facts.names)
    # The source's path on this machine is written into the file otherwise.
    if "conversion_parameters" in model.get_rt_info():
        del model.rt_info["conversion_parameters"]
    number_nodes(model)
    path = job.folder / MODEL_FILES[Backend.OPENVINO][0]
    ov.save_model(model, path, compress_to_fp16=Precision.FLOAT16 in (job.scheme.weights, job.scheme.rest))
    return made


def read_exported(job: ConversionJob) -> Any:
    """The exported graph as an `openvino.Model` of the shape that the job's interface states.

    Raises:
      MissingResultError, ArtifactError: as `make_ir`.
    """
    brought = job.exported / MODEL_FILES[Backend.OPENVINO][0]
    if not brought.is_file():
        return read_saved_model(job.exported / SAVED_MODEL, job.interface)
    model = ov.Core().read_model(brought)
    reshape_image(model, job.interface.input.shape, "convert.openvino.size")
    found, expected = describe_ports(model.outputs), describe_outputs(job.interface)
    if {name: found.get(name) for name in expected} != expected:
        raise ArtifactError(f"convert.openvino.size: outputs become {found}, expected {expected} (interface.json)")
    return model


def number_nodes(model: Any) -> None:
    """Gives nodes that OpenVINO named itself their number among those of their kind.

    OpenVINO numbers what it makes through the whole process: the number depends on how much was thrown away before,
    and the same model would have another sha256 from one conversion to the next.
    """
    counts: Counter[str] = Counter()
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if re.fullmatch(rf"{kind}_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{kind}_{counts[kind]}")
            counts[kind] += 1


def prove_ir(path: Path, scheme: Scheme) -> Proof:
    """The proof of an IR, read from its files."""
    return prove_graph(read_ir_graph(path), scheme)


def read_saved_model(folder: Path, interface: Interface) -> Any:
    """A SavedModel as an `openvino.Model` of static input shape.

    Raises:
      MissingResultError, ArtifactError: as `make_ir`.
    """
    if not folder.is_dir():
        raise MissingResultError(f"{folder}: no such folder; run `export` first")
    try:
        with plain_path(folder) as plain:
            model = ov.convert_model(plain, input=list(interface.input.shape))
    except Exception as error:  # The frontend's failures have classes of their own, with no base in common.
        text = " ".join(str(error).split())[:300]
        raise ArtifactError(f"{folder}: OpenVINO cannot read it, expected a SavedModel: {text}") from None
    found, expected = describe_ports(model.outputs), describe_outputs(interface)
    if {name: found.get(name) for name in expected} != expected:
        raise ArtifactError(f"{folder}: outputs {found}, expected {expected} (interface.json)")
    speed_up_searches(model)
    return model


def quantize_ir(model: Any, job: ConversionJob) -> tuple[Any, Made]:
    """Convolutions, fully-connected layers and additions between them in int8; all that computes coordinates in float.

    Weights get one scale per output channel. Ranges of activations span everything seen, as in `ranges.measure_ranges`:
    averages of each image's extremes, NNCF's default, cut off the strongest answers. Sources: NNCF, `nncf.quantize`;
    Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019), for the bias
    correction.
    """
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    images, num_detections = choose_calibration_images(model, job.images, job.interface)
    tensors = [load_tensor(path, job.interface.input) for path in images]
    ignored = ignored_names(model)
    quantized = nncf.quantize(
        model,
        nncf.Dataset(tensors),
        subset_size=len(tensors),
        preset=nncf.QuantizationPreset.MIXED,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        ),
        ignored_scope=nncf.IgnoredScope(names=ignored, validate=False),
    )
    skipped = len(job.images) - len(images)
    notes = (
        (f"{skipped} of {len(job.images)} calibration images without any detection were left out",) if skipped else ()
    )
    return quantized, Made(calibration_images=len(images), calibration_detections=num_detections, notes=notes)


def choose_calibration_images(model: Any, images: Sequence[Path], interface: Interface) -> tuple[list[Path], int]:
    """Calibration images on which the float model finds something, and how much it finds in all.

    A mask head is only run through on those: on an image without detections it sees empty regions.

    Raises:
      ArtifactError: if a model with masks finds nothing on any of them.
    """
    # Where the processor has bfloat16, the plugin would compute in it.
    compiled = ov.Core().compile_model(model, "CPU", {hints.inference_precision(): ov.Type.f32})
    request = compiled.create_infer_request()
    counts = []
    for path in track(images, "looking for objects", console=Console(stderr=True), transient=True):
        request.infer({interface.input.name: load_tensor(path, interface.input)})
        counts.append(int(np.asarray(request.get_tensor("num_detections").data).reshape(-1)[0]))
    if not interface.has_masks:
        return list(images), sum(counts)
    chosen = [path for path, count in zip(images, counts, strict=True) if count]
    if not chosen:
        raise ArtifactError(
            f"none of {len(images)} calibration images gives a detection, so the mask head cannot be calibrated; "
            "train longer, or lower export.score_threshold"
        )
    return chosen, sum(counts)


def load_tensor(path: Path, spec: ImageInput) -> np.ndarray:
    """The input tensor of one calibration image."""
    tensor, _ = preprocess_image(load_image(path), spec)
    return tensor


def ignored_names(model: Any) -> list[str]:
    """Names of all ops that stay float: everything but the layers and the additions between them."""
    graph = model_to_graph(model)
    selection = select_ops(graph, KINDS_BETWEEN)
    kept = {graph.tensors[op.outputs[0]].name for op in (*selection.layers, *selection.between)}
    return sorted(
        node.get_friendly_name()
        for node in model.get_ops()
        if node.get_friendly_name() not in kept and node.get_type_name() not in PASSIVE_KINDS
    )
