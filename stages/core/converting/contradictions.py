"""What in a file speaks against its scheme's name, derived from the columns of the scheme table."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from stages.core.base.errors import ArtifactError
from stages.core.graphs.flatbuffer import Graph
from stages.core.graphs.layers import Layer
from stages.core.results.conversion import LayerSparsity
from stages.core.results.interface import TensorOutput
from stages.core.tables.schemes import Scheme

MIN_ACTIVATION_MACS = 0.9
"""Share of MACs that must compute on the scheme's activations. Not all: a layer may be kept float where that pays."""
MIN_SPARSITY = 0.1
"""A pruned layer has more zeros than rounding makes by chance."""
KNOWN_CUSTOM_OPS = frozenset({"TFLite_Detection_PostProcess"})
QUANTIZED_TYPES = frozenset({"int4", "int8", "uint8", "int16", "float16"})
"""Types of weights and activations. int32 and bool are left out: indices and masks have them in float files too."""


def check_graph(graph: Graph, outputs: Iterable[TensorOutput], source: Path) -> None:
    """Refuses a source that no scheme can be made of: foreign ops, or outputs that are not a detector's.

    Args:
      graph: The float file's.
      outputs: Those that the interface states; their order does not matter.
      source: What the message calls the file.

    Raises:
      ArtifactError: naming what was found and what is expected.
    """
    foreign = list(_check_ops(graph))
    wanted = {output.name: tuple(output.shape) for output in outputs}
    found = {name: graph.tensors[index].shape for name, index in graph.outputs.items()}
    if sorted(found) != sorted(wanted):
        foreign.append(f"outputs {sorted(found)}, expected {sorted(wanted)} (interface.json)")
    elif found != wanted:
        foreign.append(f"shapes of outputs {found}, expected {wanted} (interface.json)")
    if foreign:
        raise ArtifactError(f"{source}: {'; '.join(foreign)}")


def find_contradictions(
    scheme: Scheme, graph: Graph, layers: tuple[Layer, ...], *, shared_box_score_scale: bool
) -> tuple[str, ...]:
    """Sentences, one per column that the file contradicts; empty for a proved file."""
    found = [
        *_check_ops(graph),
        *_check_input(scheme, graph),
        *_check_weights(scheme, layers),
        *_check_activations(scheme, layers),
        *_check_strangers(scheme, graph),
    ]
    if shared_box_score_scale:
        found.append("boxes and scores share one quantization scale")
    return tuple(found)


def find_density(sparsity: Iterable[LayerSparsity]) -> tuple[str, ...]:
    """What speaks against a pruned file: that no layer of it is."""
    most = max((layer.sparsity for layer in sparsity), default=0.0)
    return () if most >= MIN_SPARSITY else (f"no layer is sparse: at most {100 * most:.1f} % zeros in one",)


def _check_ops(graph: Graph) -> Iterator[str]:
    customs = sorted({op.kind for op in graph.ops if op.custom} - KNOWN_CUSTOM_OPS)
    flex = [kind for kind in customs if kind.startswith("Flex")]
    unknown = [kind for kind in customs if not kind.startswith("Flex")]
    if flex:
        yield f"Flex ops, which no runtime here has: {', '.join(flex)}"
    if unknown:
        yield f"unknown custom ops {', '.join(unknown)}, known is {', '.join(sorted(KNOWN_CUSTOM_OPS))}"


def _check_input(scheme: Scheme, graph: Graph) -> Iterator[str]:
    found = {name: graph.tensors[index].dtype for name, index in graph.inputs.items()}
    # A tensor may have more than one name.
    if len(set(graph.inputs.values())) != 1 or set(found.values()) != {scheme.input}:
        yield f"inputs are {found or 'unknown (no signature)'}, expected one of {scheme.input}"


def _check_weights(scheme: Scheme, layers: tuple[Layer, ...]) -> Iterator[str]:
    if not layers:
        yield "no convolution or fully-connected layer"
        return
    stored = Counter(layer.weights.dtype for layer in layers)
    if set(stored) != {scheme.weights}:
        counts = ", ".join(f"{count} {dtype}" for dtype, count in stored.most_common())
        yield f"weights are stored as {counts}, expected all {scheme.weights}"


def _check_activations(scheme: Scheme, layers: tuple[Layer, ...]) -> Iterator[str]:
    macs = sum(layer.macs for layer in layers)
    if not macs:
        return
    share = sum(layer.macs for layer in layers if layer.data.dtype == scheme.activations) / macs
    least = MIN_ACTIVATION_MACS if scheme.has_integer_activations else 1.0
    if share < least:
        yield f"{100 * share:.1f} % of MACs compute on {scheme.activations} activations, expected {100 * least:.0f} %"


def _check_strangers(scheme: Scheme, graph: Graph) -> Iterator[str]:
    allowed = {scheme.weights, scheme.activations, scheme.input, scheme.rest}
    found = Counter(tensor.dtype for tensor in graph.tensors if tensor.dtype in QUANTIZED_TYPES - allowed)
    for dtype, count in found.most_common():
        yield f"{count} {dtype} tensors in a {scheme.name} file"
