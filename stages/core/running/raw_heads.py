"""Where the heads' outputs are in a .tflite file: the inputs of its post-processing op, read from the file itself."""

from dataclasses import dataclass
from pathlib import Path

from stages.core.base.errors import ArtifactError
from stages.core.graphs.flatbuffer import read_graph, read_model_bytes

POST_PROCESS = "TFLite_Detection_PostProcess"


@dataclass(frozen=True)
class RawHeads:
    """Tensor indices of the first inputs of the post-processing op, and whether no op comes after it."""

    tensor_indices: tuple[int, ...]
    op_is_last: bool


def find_raw_heads(path: Path, num_heads: int) -> RawHeads:
    """Finds the post-processing op in a file.

    Args:
      path: A .tflite file.
      num_heads: How many of the op's inputs are head outputs (the anchors follow them).

    Raises:
      ArtifactError: if the file is not a whole one, or has not exactly one such op with that many inputs.
    """
    ops = read_graph(read_model_bytes(path), path).ops
    positions = [position for position, op in enumerate(ops) if op.custom and op.kind == POST_PROCESS]
    if len(positions) != 1:
        raise ArtifactError(f"{path}: {len(positions)} ops {POST_PROCESS}, expected 1: interface.json has raw outputs")
    inputs = ops[positions[0]].inputs
    if len(inputs) < num_heads:
        raise ArtifactError(f"{path}: {POST_PROCESS} has {len(inputs)} inputs, expected {num_heads} or more")
    return RawHeads(inputs[:num_heads], op_is_last=positions[0] == len(ops) - 1)
