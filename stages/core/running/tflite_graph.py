"""Where the heads' outputs lie in a .tflite file: the inputs of its post-processing op, read from the file itself."""

from dataclasses import dataclass
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from stages.core.errors import ArtifactError

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
      ArtifactError: if the file has not exactly one such op with that many inputs.
    """
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    codes = [model.OperatorCodes(index).CustomCode() for index in range(model.OperatorCodesLength())]
    places = [
        index
        for index in range(graph.OperatorsLength())
        if codes[graph.Operators(index).OpcodeIndex()] == POST_PROCESS.encode()
    ]
    if len(places) != 1:
        raise ArtifactError(f"{path}: {len(places)} ops {POST_PROCESS}, expected 1: interface.json has raw outputs")
    operator = graph.Operators(places[0])
    if operator.InputsLength() < num_heads:
        raise ArtifactError(
            f"{path}: {POST_PROCESS} has {operator.InputsLength()} inputs, expected {num_heads} or more"
        )
    indices = tuple(int(operator.Inputs(index)) for index in range(num_heads))
    return RawHeads(indices, op_is_last=places[0] == graph.OperatorsLength() - 1)
