"""Where the heads' outputs lie in a .tflite file: the inputs of its post-processing op, read from the file itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from stages.core.errors import ArtifactError

POST_PROCESS = "TFLite_Detection_PostProcess"
FILE_MARK = b"TFL3"


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
    content = path.read_bytes()
    try:
        return _find_in_graph(schema.Model.GetRootAs(content, 0), path, num_heads)
    except ArtifactError:
        raise
    except Exception as error:  # The generated reader fails with whatever the stray bytes provoke.
        raise ArtifactError(
            f"{path}: truncated or damaged .tflite flatbuffer of {len(content)} bytes ({type(error).__name__})"
        ) from None


def check_mark(path: Path) -> None:
    """Raises ArtifactError unless the file starts like a .tflite flatbuffer."""
    with path.open("rb") as file:
        found = file.read(8)[4:]
    if found != FILE_MARK:
        raise ArtifactError(f"{path}: not a .tflite flatbuffer: bytes 4..8 are {found!r}, expected {FILE_MARK!r}")


def _find_in_graph(model: Any, path: Path, num_heads: int) -> RawHeads:
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
