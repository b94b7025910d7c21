"""How many weights of each layer are exactly zero, read from a .tflite file's bytes."""

from pathlib import Path

import numpy as np

from stages.core.base.errors import ArtifactError
from stages.core.graphs.flatbuffer import Tensor, read_constants, read_graph
from stages.core.graphs.layers import find_layers
from stages.core.results.conversion import LayerSparsity

COUNTED = frozenset({"float32", "float16", "int8", "uint8", "int16"})
"""Types of stored weights whose values are stored one by one in the file."""


def read_sparsity(content: bytes, source: Path | str = "model") -> tuple[LayerSparsity, ...]:
    """The sparsity of every convolution, depthwise, transposed and fully-connected layer, in execution order.

    Weights that several ops share are counted once.

    Args:
      content: The file's bytes.
      source: What error messages call them.

    Raises:
      ArtifactError: if the bytes are not a whole .tflite flatbuffer, or weights are stored in a type that packs several
        values into a byte.
    """
    graph, constants = read_graph(content, source), read_constants(content, source)
    rows: dict[int, LayerSparsity] = {}
    for layer in find_layers(graph):
        weights = layer.weights
        if weights.constant and weights.index not in rows:
            rows[weights.index] = LayerSparsity(
                name=_name_layer(graph.tensors[layer.op.outputs[0]]),
                op=layer.op.kind,
                dtype=weights.dtype,
                num_weights=int(np.prod(weights.shape)),
                sparsity=_measure(weights, constants, source),
            )
    return tuple(rows.values())


def _measure(weights: Tensor, constants: dict[int, np.ndarray], source: Path | str) -> float:
    if weights.dtype not in COUNTED:
        raise ArtifactError(
            f"{source}: {weights.name} is stored as {weights.dtype}; zeros are counted in {', '.join(sorted(COUNTED))}"
        )
    zeros = set(weights.zero_points) or {0}
    if len(zeros) > 1:
        raise ArtifactError(f"{source}: {weights.name} has {len(zeros)} different zero points, expected one")
    return float(np.mean(constants[weights.index] == zeros.pop()))


def _name_layer(output: Tensor) -> str:
    """The layer's own op among the merged ones that a converted tensor is named after: `a/Relu6;a/conv2d/Conv2D`."""
    parts = [part for part in output.name.split(";") if part]
    return parts[-1] if parts else output.name
