"""Brought .tflite files and OpenVINO IRs, read: their tensors, and how they are written under our names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.file_kinds import EDGE_TPU_OP, FileKind, check_kind
from stages.core.base.layout import MODEL_FILES, TFLITE_FILES
from stages.core.base.nearest import nearest_names
from stages.core.exporting.source import BroughtSource
from stages.core.graphs.flatbuffer import DTYPES, Graph, indices, pack_model, parse_model, read_graph, text
from stages.core.graphs.signatures import make_signature
from stages.core.params.brought import BroughtKind, BroughtLayout, BroughtModel
from stages.core.results.interface import SIGNATURE
from stages.core.results.kinds import Backend, Form

IMAGE = "image"
NAMES = {
    "boxes": "detection_boxes",
    "scores": "detection_scores",
    "classes": "detection_classes",
    "num_detections": "num_detections",
    "masks": "detection_masks",
    "reframed_masks": "detection_masks",
}
"""Key in params.yaml to the name of ours."""
OWN_NAMES = frozenset({BroughtLayout.DETECTIONS, BroughtLayout.MODEL_GARDEN})
"""Layouts whose outputs are ours, up to names, types and shapes."""
POST_PROCESS = "TFLite_Detection_PostProcess"


def names_of_tensors(model: BroughtModel) -> dict[str, str]:
    """The names that tensors have in params.yaml, by those that they get."""
    outputs = model.outputs if model.layout in OWN_NAMES else {}
    return {IMAGE: model.input.name, **{NAMES[key]: name for key, name in outputs.items()}}


@dataclass(frozen=True, kw_only=True)
class FileTensor:
    """A tensor of a file: shape, numpy name of its type, and its scale and zero point where it has one of each."""

    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadFile:
    """A finished file, read.

    Attributes:
      graph: Its graph.
      image: Its input; outputs: by key in params.yaml.
      write: Writes the file into a folder under the names of ours and returns the model file's name.
      files: The file and what belongs to it.
    """

    graph: Graph
    image: FileTensor
    outputs: Mapping[str, FileTensor]
    write: Callable[[Path], str]
    files: tuple[Path, ...]


def read_brought_tflite(source: BroughtSource) -> ReadFile:
    """A .tflite file.

    Raises:
      MissingResultError, ArtifactError: if it is missing, damaged, compiled for an Edge TPU, or lacks a tensor.
    """
    path, wanted = source.path, source.model.outputs
    check_kind(path, FileKind.TFLITE)
    content = path.read_bytes()
    model, graph = parse_model(content, path), read_graph(content, path)
    if any(op.kind == EDGE_TPU_OP.decode() for op in graph.ops):
        raise ArtifactError(f"{path}: compiled for an Edge TPU; bring the file from before edgetpu_compiler")
    custom = sorted({op.kind for op in graph.ops if op.custom} - {POST_PROCESS})
    if custom:
        raise ArtifactError(
            f"{path}: custom ops that no runtime here has: {', '.join(custom)}; known is {POST_PROCESS}: bring the "
            "model that the file was made from"
        )
    subgraph = model.subgraphs[0]
    if len(indices(subgraph.inputs)) != 1:
        raise ArtifactError(f"{path}: {len(indices(subgraph.inputs))} inputs, expected one image")
    image = indices(subgraph.inputs)[0]
    by_name = {text(subgraph.tensors[index].name): index for index in (image, *indices(subgraph.outputs))}
    for signature in model.signatureDefs or ():
        by_name |= {text(entry.name): entry.tensorIndex for entry in (*signature.inputs, *signature.outputs)}
    check_entry(path, source, set(by_name), image_names={name for name, index in by_name.items() if index == image})
    chosen = {key: by_name[name] for key, name in wanted.items()}
    ends_in_op = any(op.custom and op.kind == POST_PROCESS for op in graph.ops)

    def write(folder: Path) -> str:
        # Every signature goes: the file's own one may have other names for the same tensors.
        named = {NAMES[key]: index for key, index in chosen.items()}
        subgraph.outputs = list(named.values())
        model.signatureDefs = [make_signature(SIGNATURE, {IMAGE: image}, named)]
        name = TFLITE_FILES[Form.POSTPROCESS_OP if ends_in_op else Form.BUILTIN]
        (folder / name).write_bytes(pack_model(model))
        return name

    return ReadFile(
        graph=graph,
        image=_describe_tensor(subgraph.tensors[image]),
        outputs={key: _describe_tensor(subgraph.tensors[index]) for key, index in chosen.items()},
        write=write,
        files=(path,),
    )


def read_brought_ir(source: BroughtSource) -> ReadFile:
    """An OpenVINO IR.

    Raises:
      MissingResultError, ArtifactError: if a file is missing or damaged, or lacks a tensor.
    """
    import openvino as ov

    from stages.core.graphs.ir import model_to_graph
    from stages.core.graphs.reshaping import reshape_image

    path, wanted = source.path, source.model.outputs
    check_kind(path, FileKind.OPENVINO)
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise MissingResultError(f"{weights}: no such file; an OpenVINO IR is {path.name} and {weights.name} together")
    try:
        model = ov.Core().read_model(path, weights)
    except RuntimeError as error:
        raise ArtifactError(f"{path}: OpenVINO cannot read it: {' '.join(str(error).split())[:300]}") from None
    if len(model.inputs) != 1:
        raise ArtifactError(f"{path}: {len(model.inputs)} inputs, expected one image")
    ports = {name: port for port in (*model.inputs, *model.outputs) for name in _port_names(port)}
    check_entry(path, source, set(ports), image_names=_port_names(model.inputs[0]))
    if wanted_shape := _shape_for(model.inputs[0], source.model.input.size):
        reshape_image(model, wanted_shape, f"{path}: input.size")
    ports = {name: port for port in (*model.inputs, *model.outputs) for name in _port_names(port)}
    chosen = {key: ports[name] for key, name in wanted.items()}

    def write(folder: Path) -> str:
        named = {IMAGE: model.inputs[0], **{NAMES[key]: port for key, port in chosen.items()}}
        for name, port in named.items():
            # Its own names stay, but for one that means another tensor here.
            port.get_tensor().set_names({name, *(port.get_names() - {IMAGE, *NAMES.values()})})
        xml, _ = MODEL_FILES[Backend.OPENVINO]
        ov.save_model(model, folder / xml, compress_to_fp16=False)
        return xml

    return ReadFile(
        graph=model_to_graph(model),
        image=_describe_ir_port(model.inputs[0]),
        outputs={key: _describe_ir_port(port) for key, port in chosen.items()},
        write=write,
        files=(path, weights),
    )


READERS_OF_FINISHED: dict[BroughtKind, Callable[[BroughtSource], ReadFile]] = {
    BroughtKind.TFLITE: read_brought_tflite,
    BroughtKind.OPENVINO: read_brought_ir,
}
"""Kind of a finished file to what reads it."""


def check_entry(path: Path, source: BroughtSource, known: set[str], *, image_names: set[str]) -> None:
    """Raises ArtifactError unless the entry's tensors are the file's input and outputs."""
    for key, name in source.model.outputs.items():
        if name not in known - image_names:
            outputs = sorted(known - image_names)
            near = ", ".join(nearest_names(name, outputs)) or "none"
            told = ", ".join(outputs) or "none"
            raise ArtifactError(f"{path}: outputs.{key}: no output {name!r}; nearest: {near}; it has {told}")
    if source.model.input.name not in image_names:
        found = ", ".join(sorted(image_names))
        raise ArtifactError(f"{path}: input.name: no input {source.model.input.name!r}; it is {found}")


def _describe_tensor(tensor: Any) -> FileTensor:
    signature: Any = tensor.shapeSignature
    shape = tensor.shape if signature is None or -1 not in list(signature) else signature
    scales: Any = tensor.quantization.scale if tensor.quantization is not None else None
    single = scales is not None and len(scales) == 1
    return FileTensor(
        shape=tuple(int(side) for side in (shape if shape is not None else ())),
        dtype=DTYPES[tensor.type],
        scale=float(scales[0]) if single else None,
        zero_point=int(tensor.quantization.zeroPoint[0]) if single else 0,
    )


def _shape_for(port: Any, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """One image of this size in the input's layout; None for an input that takes something else."""
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic or len(shape) != 4 or (shape[0].is_static and shape[0].get_length() != 1):
        return None
    return (1, 3, *size) if shape[1] == 3 and shape[3] != 3 else (1, *size, 3)


def _port_names(port: Any) -> set[str]:
    return set(port.get_names()) or {port.get_node().get_friendly_name()}


def _describe_ir_port(port: Any) -> FileTensor:
    shape = tuple(side.get_length() if side.is_static else -1 for side in port.get_partial_shape())
    return FileTensor(shape=shape, dtype=np.dtype(port.get_element_type().to_dtype()).name)
