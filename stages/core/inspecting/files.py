"""Findings of .tflite files and OpenVINO IRs: graphs whose shapes, types and values are all in the file."""

from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from stages.core.base.errors import ArtifactError
from stages.core.converting.proof import prove_graph
from stages.core.graphs.attached import read_attached
from stages.core.graphs.flatbuffer import DTYPES, Graph, indices, parse_model, read_graph, text
from stages.core.graphs.layers import find_layers
from stages.core.inspecting.findings import Obstacle, OpFacts, SignatureFacts, TensorFacts, WeightFacts
from stages.core.inspecting.obstacles import CONTROL_FLOW, EDGE_TPU
from stages.core.results.kinds import Backend
from stages.core.tables.schemes import SCHEMES

MAIN = "main"
"""What the inputs and outputs of a file without signature are listed under."""


def inspect_tflite(path: Path) -> dict[str, Any]:
    """Fields of an `Inspection`.

    Raises:
      ArtifactError: if the file is truncated, or has no ops.
    """
    content = path.read_bytes()
    model = parse_model(content, path)
    graph = read_graph(content, path)
    labels, files = read_attached(path)
    notes = [f"{len(model.subgraphs)} subgraphs"] if len(model.subgraphs) > 1 else []
    metadata = [("description", text(model.description))] if model.description else []
    metadata += [("metadata", text(entry.name)) for entry in model.metadata or ()]
    metadata += [("attached file", name) for name in files]
    return {
        **describe_graph_facts(graph, Backend.TFLITE),
        "signatures": tuple(_read_signatures(model)),
        "labels": tuple(labels),
        "metadata": tuple(metadata),
        "notes": tuple(notes),
    }


def inspect_ir(path: Path) -> dict[str, Any]:
    """Fields of an `Inspection`.

    Raises:
      ArtifactError: if OpenVINO cannot read the file, or its weights are missing.
    """
    from stages.core.graphs.ir import read_ir_graph

    if not path.with_suffix(".bin").is_file():
        raise ArtifactError(f"{path.with_suffix('.bin')}: no such file; an OpenVINO IR is .xml and .bin together")
    graph = read_ir_graph(path)
    signature = SignatureFacts(
        name=MAIN,
        inputs=tuple(_of_graph(graph, name, index) for name, index in graph.inputs.items()),
        outputs=tuple(_of_graph(graph, name, index) for name, index in graph.outputs.items()),
    )
    return {**describe_graph_facts(graph, Backend.OPENVINO), "signatures": (signature,)}


def describe_graph_facts(graph: Graph, backend: Backend) -> dict[str, Any]:
    """What is in a file's graph whatever its format: ops, MACs, weights, numeric types, schemes that it may be."""
    layers = find_layers(graph)
    macs: Counter[str] = Counter()
    for layer in layers:
        macs[layer.op.kind] += layer.macs
    counts = Counter((op.kind, op.custom) for op in graph.ops)
    stored = {layer.weights.index: layer.weights for layer in layers if layer.weights.constant}.values()
    sizes: dict[str, list[int]] = {}
    for tensor in stored:
        sizes.setdefault(tensor.dtype, []).append(prod(tensor.shape))
    proofs = {
        name: prove_graph(graph, scheme) for name, scheme in SCHEMES.items() if scheme.backend is backend and layers
    }
    return {
        "ops": tuple(
            OpFacts(op=kind, count=count, special=_special(kind, custom), macs=macs.get(kind))
            for (kind, custom), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ),
        "weights": tuple(WeightFacts(dtype=k, tensors=len(v), values=sum(v)) for k, v in sorted(sizes.items())),
        "macs": sum(macs.values()) if layers else None,
        "numbers": _describe_numbers(layers),
        "schemes": tuple(name for name, proof in proofs.items() if not proof.contradictions),
    }


def find_edge_tpu_types(graph_numbers: str, inputs: tuple[TensorFacts, ...]) -> list[Obstacle]:
    """Types and shapes that keep a .tflite file from the Edge TPU."""
    found = []
    if graph_numbers and not graph_numbers.startswith(("int8 weights, int8", "uint8 weights, uint8")):
        advice = "takes 8-bit weights and activations only: int8_uint8_input or qat_* schemes"
        found.append(Obstacle(target=EDGE_TPU, what=graph_numbers, count=1, advice=advice))
    dynamic = [tensor.name for tensor in inputs if tensor.shape is None or -1 in tensor.shape]
    if dynamic:
        advice = "takes fixed sizes only: convert with one shape"
        found.append(Obstacle(target=EDGE_TPU, what=f"dynamic {', '.join(dynamic)}", count=len(dynamic), advice=advice))
    return found


def _describe_numbers(layers: Any) -> str:
    """`int8 weights, float32 activations`, most frequent first where there are several."""
    if not layers:
        return ""
    parts = []
    for what, dtypes in (
        ("weights", Counter(layer.weights.dtype for layer in layers)),
        ("activations", Counter(layer.data.dtype for layer in layers)),
    ):
        mixed = " and ".join(dtype for dtype, _ in dtypes.most_common())
        parts.append(f"{mixed} {what}")
    return ", ".join(parts)


def _special(kind: str, custom: bool) -> str:
    if custom:
        return "flex" if kind.startswith("Flex") else "custom"
    return "control flow" if kind in CONTROL_FLOW else ""


def _read_signatures(model: Any) -> list[SignatureFacts]:
    found = []
    for signature in model.signatureDefs or ():
        subgraph = model.subgraphs[signature.subgraphIndex]
        inputs, outputs = (
            tuple(_of_subgraph(subgraph, text(entry.name), entry.tensorIndex) for entry in entries)
            for entries in (signature.inputs, signature.outputs)
        )
        found.append(SignatureFacts(name=text(signature.signatureKey), inputs=inputs, outputs=outputs))
    if found:
        return found
    subgraph = model.subgraphs[0]
    inputs, outputs = (
        tuple(_of_subgraph(subgraph, text(subgraph.tensors[index].name), index) for index in indices(positions))
        for positions in (subgraph.inputs, subgraph.outputs)
    )
    return [SignatureFacts(name=MAIN, inputs=inputs, outputs=outputs)]


def _of_subgraph(subgraph: Any, name: str, index: int) -> TensorFacts:
    tensor = subgraph.tensors[index]
    shape = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    scales: Any = tensor.quantization.scale if tensor.quantization is not None else None
    single = scales is not None and len(scales) == 1
    return TensorFacts(
        name=name,
        tensor=text(tensor.name),
        shape=tuple(int(side) for side in (shape if shape is not None else ())),
        dtype=DTYPES[tensor.type],
        scale=float(scales[0]) if single else None,
        zero_point=int(tensor.quantization.zeroPoint[0]) if single else None,
    )


def _of_graph(graph: Graph, name: str, index: int) -> TensorFacts:
    tensor = graph.tensors[index]
    return TensorFacts(name=name, tensor=tensor.name, shape=tensor.shape, dtype=tensor.dtype)
