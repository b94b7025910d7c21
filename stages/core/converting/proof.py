"""`proof.json`: what a file says of its own quantization, read from its bytes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from stages.core.converting.contradictions import find_contradictions, find_density
from stages.core.converting.sparsity import read_sparsity
from stages.core.graphs.flatbuffer import Graph, read_graph, read_model_bytes
from stages.core.graphs.layers import LAYER_KINDS, Layer, find_layers
from stages.core.results.conversion import OpProof, Proof
from stages.core.tables.schemes import Scheme

INTEGERS = frozenset({"int4", "int8", "uint8", "int16"})
SUPPRESSORS = {
    "TFLite_Detection_PostProcess": (0, 1),
    "NON_MAX_SUPPRESSION_V4": (0, 1),
    "NonMaxSuppression": (0, 1),
}
"""Op to the positions of boxes and scores among its inputs."""
BARRIERS = frozenset({*LAYER_KINDS, "TOPK_V2", "ARG_MAX", "NON_MAX_SUPPRESSION_V4", "TopK", "NonMaxSuppression"})
"""Ops behind which another quantity begins: a layer's output is where a head's tensor starts."""
GATHERS = frozenset({"GATHER", "GATHER_ND", "Gather", "GatherND"})


def prove_tflite(path: Path, scheme: Scheme) -> Proof:
    """Reads the proof out of a .tflite file.

    Args:
      path: The file.
      scheme: What it claims to be; `contradictions` are against it.

    Raises:
      ArtifactError: if the bytes are not a whole .tflite flatbuffer.
    """
    content = read_model_bytes(path)
    proof = prove_graph(read_graph(content, path.name), scheme)
    if not scheme.is_pruned:
        return proof
    sparsity = read_sparsity(content, path.name)
    return replace(proof, sparsity=sparsity, contradictions=(*proof.contradictions, *find_density(sparsity)))


def prove_graph(graph: Graph, scheme: Scheme) -> Proof:
    """The proof of a file's graph, whatever its format."""
    layers = find_layers(graph)
    macs_by_dtype: Counter[str] = Counter()
    for layer in layers:
        macs_by_dtype[layer.computes_in] += layer.macs
    macs = sum(macs_by_dtype.values())
    # A branch is read as often as it is called, on the same weights.
    quantized = {layer.weights.index: layer.weights for layer in layers if layer.weights.scales}.values()
    shared = shares_box_score_scale(graph)
    return Proof(
        ops=prove_ops(graph, layers),
        tensor_dtypes=dict(Counter(tensor.dtype for tensor in graph.tensors).most_common()),
        macs=macs,
        macs_by_dtype=dict(macs_by_dtype.most_common()),
        int8_macs_fraction=(macs_by_dtype["int8"] + macs_by_dtype["uint8"]) / macs if macs else 0.0,
        weights_per_channel=sum(len(weights.scales) > 1 for weights in quantized),
        weights_per_tensor=sum(len(weights.scales) == 1 for weights in quantized),
        custom_ops=_names(op.kind for op in graph.ops if op.custom and not op.kind.startswith("Flex")),
        flex_ops=_names(op.kind for op in graph.ops if op.custom and op.kind.startswith("Flex")),
        shared_box_score_scale=shared,
        contradictions=find_contradictions(scheme, graph, layers, shared_box_score_scale=shared),
    )


def prove_ops(graph: Graph, layers: tuple[Layer, ...]) -> tuple[OpProof, ...]:
    """Histogram of the graph's ops, most frequent first."""
    weights: dict[str, Counter[str]] = {}
    macs: Counter[str] = Counter()
    for layer in layers:
        weights.setdefault(layer.op.kind, Counter())[layer.weights.dtype] += 1
        macs[layer.op.kind] += layer.macs
    activations: dict[str, Counter[str]] = {}
    counts: Counter[str] = Counter()
    for op in graph.ops:
        counts[op.kind] += 1
        # The first computed input; an op that only sees constants is known by its first one.
        first = next(graph.variable_inputs(op), None) or graph.tensors[op.inputs[0]]
        activations.setdefault(op.kind, Counter())[first.dtype] += 1
    return tuple(
        OpProof(
            op=kind,
            count=count,
            activations=dict(activations[kind].most_common()),
            weights=dict(weights.get(kind, Counter()).most_common()),
            macs=macs[kind],
        )
        for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def shares_box_score_scale(graph: Graph) -> bool:
    """Whether boxes and scores of any suppression come out of one quantized tensor.

    One scale for both drowns the scores: box encodings range over units, scores over 0..1. Walks back from the two
    inputs to the layers that they start from, and looks for a quantized tensor on both ways.
    """
    for op in graph.ops:
        if op.kind in SUPPRESSORS:
            boxes, scores = (_quantized_ancestors(graph, op.inputs[position]) for position in SUPPRESSORS[op.kind])
            if boxes & scores:
                return True
    return False


def _quantized_ancestors(graph: Graph, start: int) -> set[int]:
    found: set[int] = set()
    seen: set[int] = set()
    todo = [start]
    while todo:
        index = todo.pop()
        if index in seen or index < 0:
            continue
        seen.add(index)
        tensor = graph.tensors[index]
        if tensor.dtype in INTEGERS and tensor.scales and not tensor.constant:
            found.add(index)
        producer = graph.producers.get(index)
        if producer is None or producer.kind in BARRIERS:
            continue
        # A gather's indices choose rows; only its first input holds the values.
        todo.extend(producer.inputs[:1] if producer.kind in GATHERS else producer.inputs)
    return found


def _names(kinds: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(kinds)))
