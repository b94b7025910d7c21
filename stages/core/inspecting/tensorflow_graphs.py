"""Findings of SavedModels and frozen graphs, from their bytes: TensorFlow is not imported and runs nothing."""

from collections import Counter
from pathlib import Path
from typing import Any

from stages.core.base.errors import ArtifactError
from stages.core.base.file_kinds import SAVED_MODEL_FILE
from stages.core.inspecting.findings import OpFacts, SignatureFacts, TensorFacts, WeightFacts
from stages.core.inspecting.obstacles import CONTROL_FLOW, POST_PROCESS
from stages.core.inspecting.wire import (
    DamagedBytesError,
    GraphBytes,
    Node,
    SignatureTensor,
    parse_graph,
    parse_saved_model,
)

SILENT = frozenset({"Const", "NoOp", "Identity", "Placeholder"})
"""Ops that compute nothing."""
FAKE_QUANT = "FakeQuant"
MAIN = "main"


def inspect_frozen_graph(path: Path) -> dict[str, Any]:
    """Fields of an `Inspection`: placeholders are its inputs, tensors that nothing reads its outputs.

    Raises:
      ArtifactError: if the bytes are damaged, or hold no nodes.
    """
    try:
        graph = parse_graph(path.read_bytes())
    except DamagedBytesError as error:
        raise ArtifactError(f"{path}: a truncated or damaged GraphDef: {error}") from None
    read = {name.removeprefix("^").partition(":")[0] for node in graph.nodes for name in node.inputs}
    inputs = [node for node in graph.nodes if node.op.startswith("Placeholder")]
    outputs = [node for node in graph.nodes if node.name not in read and node.op not in ("NoOp", "Assert", "Const")]
    signature = SignatureFacts(
        name=MAIN,
        inputs=tuple(TensorFacts(name=n.name, tensor=n.name, shape=n.shape, dtype=n.dtype) for n in inputs),
        outputs=tuple(TensorFacts(name=n.name, tensor=n.name, shape=None, dtype="unknown") for n in outputs),
    )
    return {**_describe_nodes(graph, path), "signatures": (signature,)}


def inspect_saved_model(path: Path) -> dict[str, Any]:
    """Fields of an `Inspection`.

    Raises:
      ArtifactError: if the bytes are damaged, or hold no nodes.
    """
    file = path / SAVED_MODEL_FILE if path.is_dir() else path
    try:
        graph = parse_saved_model(file.read_bytes())
    except DamagedBytesError as error:
        raise ArtifactError(f"{file}: a truncated or damaged SavedModel: {error}") from None
    signatures = tuple(
        SignatureFacts(name=name, inputs=tuple(map(_facts, inputs)), outputs=tuple(map(_facts, outputs)))
        for name, (inputs, outputs) in sorted(graph.signatures.items())
        if not name.startswith("__saved_model")
    )
    notes = [] if signatures else ["no signature: nothing says what goes in and out; save it with one"]
    variables = list(file.parent.glob("variables/variables.data-*"))
    if variables:
        notes.append(f"variables: {sum(file.stat().st_size for file in variables)} bytes")
    return {**_describe_nodes(graph, file), "signatures": signatures, "notes": tuple(notes)}


def _describe_nodes(graph: GraphBytes, path: Path) -> dict[str, Any]:
    nodes = (*graph.nodes, *graph.inner)
    counts = Counter(node.op for node in nodes)
    if not set(counts) - SILENT - {"VarHandleOp", "ReadVariableOp"}:
        raise ArtifactError(f"{path}: a graph that computes nothing: {dict(counts) or 'no nodes'}")
    fake = sum(count for op, count in counts.items() if op.startswith(FAKE_QUANT))
    return {
        "ops": tuple(
            OpFacts(op=op, count=count, special=_special(op))
            for op, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ),
        "weights": _count_constants(nodes),
        "numbers": f"float with {fake} fake-quant nodes (quantization-aware trained)" if fake else "float",
    }


def _count_constants(nodes: tuple[Node, ...]) -> tuple[WeightFacts, ...]:
    sizes: dict[str, list[int]] = {}
    for node in nodes:
        if (stored := node.stored) is not None:
            sizes.setdefault(stored[0], []).append(stored[1])
    return tuple(WeightFacts(dtype=k, tensors=len(v), values=sum(v)) for k, v in sorted(sizes.items()))


def _special(op: str) -> str:
    if op == POST_PROCESS:
        return "custom"
    return "control flow" if op in CONTROL_FLOW else ""


def _facts(tensor: SignatureTensor) -> TensorFacts:
    return TensorFacts(name=tensor.name, tensor=tensor.tensor, shape=tensor.shape, dtype=tensor.dtype)
