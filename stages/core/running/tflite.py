"""TFLite files on LiteRT's interpreter, with its default delegate (XNNPACK)."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from stages.core.base.errors import ArtifactError, InferenceError
from stages.core.base.native_output import silence_native
from stages.core.base.versions import read_versions
from stages.core.graphs.flatbuffer import check_mark
from stages.core.processing.decode import outputs_to_detections, settle_masks
from stages.core.processing.detections import Detections
from stages.core.processing.preprocess import preprocess_image
from stages.core.results.interface import Interface, TensorOutput
from stages.core.running.artifact import Artifact
from stages.core.running.raw_heads import RawHeads, find_raw_heads
from stages.core.running.runner import first_line

_PACKAGE = "ai-edge-litert"
DELEGATE = "DELEGATE"


class TfliteRunner:
    """A .tflite file, allocated and ready."""

    def __init__(self, artifact: Artifact, *, num_threads: int, keep_raw: bool = False) -> None:
        self.interface: Interface = artifact.interface
        self.runtime = f"{_PACKAGE} {read_versions(_PACKAGE)[_PACKAGE]}"
        self.outputs: Mapping[str, np.ndarray] = {}
        with artifact.path.open("rb") as file:
            check_mark(file.read(8), artifact.path)
        heads = None
        if keep_raw and self.interface.raw_outputs:
            heads = find_raw_heads(artifact.path, len(self.interface.raw_outputs))
        self._interpreter = open_interpreter(artifact, num_threads, heads)
        runner = self._interpreter.get_signature_runner(find_signature(self._interpreter, artifact))
        self._input = check_input(runner.get_input_details(), artifact)
        self._outputs = check_outputs(runner.get_output_details(), self.interface.outputs, artifact)
        self._stored = {output.name for output in self.interface.outputs if output.stored_dtype}
        self._raw = {} if heads is None else self._find_raw(heads, artifact)

    @property
    def delegate(self) -> str:
        # The interpreter names its nodes only through this; a delegate leaves a node of its own in the plan.
        ops = self._interpreter._get_ops_details()
        return "XNNPACK" if any(op["op_name"] == DELEGATE for op in ops) else "none"

    @property
    def slow_ops(self) -> Mapping[str, int]:
        return count_undelegated(self._interpreter._get_ops_details())

    @property
    def raw_outputs(self) -> Mapping[str, np.ndarray]:
        return {name: self._read_dequantized(details) for name, details in self._raw.items()}

    def infer(self, tensor: np.ndarray) -> Mapping[str, np.ndarray]:
        try:
            self._interpreter.set_tensor(self._input["index"], tensor)
            self._interpreter.invoke()
            self.outputs = {name: self._read_output(name, details) for name, details in self._outputs.items()}
        except (RuntimeError, ValueError) as error:
            raise InferenceError(f"{self.runtime}: inference failed: {first_line(error)}") from None
        return self.outputs

    def run(self, image: np.ndarray) -> Detections:
        tensor, placement = preprocess_image(image, self.interface.input)
        self.outputs = settle_masks(self.infer(tensor), self.interface)
        return outputs_to_detections(self.outputs, self.interface, placement)

    def _find_raw(self, heads: RawHeads, artifact: Artifact) -> dict[str, dict[str, Any]]:
        by_index = {details["index"]: details for details in self._interpreter.get_tensor_details()}
        names = [output.name for output in self.interface.raw_outputs]
        found = {name: by_index[index] for name, index in zip(names, heads.tensor_indices, strict=True)}
        check_shapes(found, self.interface.raw_outputs, artifact)
        return found

    def _read_output(self, name: str, details: dict[str, Any]) -> np.ndarray:
        values: np.ndarray = self._interpreter.get_tensor(details["index"])
        return self._read_dequantized(details) if name in self._stored else values

    def _read_dequantized(self, details: dict[str, Any]) -> np.ndarray:
        values: np.ndarray = self._interpreter.get_tensor(details["index"])
        if np.issubdtype(values.dtype, np.floating):
            return values.astype(np.float32)
        quantization = details["quantization_parameters"]
        real: np.ndarray = (values.astype(np.float64) - quantization["zero_points"]) * quantization["scales"]
        return real.astype(np.float32)


def count_undelegated(ops: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Kind to number of the ops that no delegate took over.

    A delegate leaves a node of its own behind the original ones, with its partition's inputs and outputs: what is
    between those was taken over.

    Args:
      ops: `op_name`, `inputs` and `outputs` (tensor indices) of every node.
    """
    producers = {int(index): op for op in ops if op["op_name"] != DELEGATE for index in op["outputs"]}
    taken: set[int] = set()
    for partition in (op for op in ops if op["op_name"] == DELEGATE):
        borders, todo = set(map(int, partition["inputs"])), list(map(int, partition["outputs"]))
        while todo:
            op = producers.get(todo.pop())
            if op is not None and id(op) not in taken:
                taken.add(id(op))
                todo += [int(index) for index in op["inputs"] if int(index) not in borders]
    left = Counter(str(op["op_name"]) for op in ops if op["op_name"] != DELEGATE and id(op) not in taken)
    return dict(sorted(left.items()))


def open_interpreter(artifact: Artifact, num_threads: int, heads: RawHeads | None) -> Any:
    """An allocated interpreter.

    Intermediate tensors stay readable after a run only where nothing is computed after them; otherwise the interpreter
    is asked to keep every tensor, which costs memory and speed.

    Raises:
      ArtifactError: if there are no ops in it.
      InferenceError: if the runtime refuses the file.
    """
    keep_all = heads is not None and not heads.op_is_last
    try:
        with warnings.catch_warnings(), silence_native():
            warnings.simplefilter("ignore", UserWarning)
            interpreter = Interpreter(
                str(artifact.path), num_threads=num_threads, experimental_preserve_all_tensors=keep_all
            )
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise InferenceError(f"{_PACKAGE} refuses {artifact.path.name}: {first_line(error)}") from None
    # The runtime takes a file without ops for a whole one and answers with what its memory held.
    if not interpreter._get_ops_details():
        raise ArtifactError(f"{artifact.path}: a .tflite flatbuffer without a graph, expected one with ops")
    return interpreter


def find_signature(interpreter: Any, artifact: Artifact) -> str:
    """The interface's signature, if the file has it."""
    wanted, found = artifact.interface.signature, list(interpreter.get_signature_list())
    if wanted not in found:
        raise ArtifactError(f"{artifact.path}: signatures {found}, expected {wanted!r} (interface.json)")
    return wanted


def check_input(details: Mapping[str, dict[str, Any]], artifact: Artifact) -> dict[str, Any]:
    """The one input tensor, if name, shape and dtype are the interface's."""
    spec = artifact.interface.input
    found = {name: (tuple(map(int, row["shape"])), np.dtype(row["dtype"]).name) for name, row in details.items()}
    expected = {spec.name: (spec.shape, spec.dtype)}
    if found != expected:
        raise ArtifactError(f"{artifact.path}: inputs {found}, expected {expected} (interface.json)")
    return details[spec.name]


def check_outputs(
    details: Mapping[str, dict[str, Any]], expected: tuple[TensorOutput, ...], artifact: Artifact
) -> dict[str, dict[str, Any]]:
    """The outputs that the interface names, with its shapes and dtypes."""
    names = [output.name for output in expected]
    if sorted(details) != sorted(names):
        raise ArtifactError(f"{artifact.path}: outputs {sorted(details)}, expected {sorted(names)} (interface.json)")
    check_shapes(details, expected, artifact)
    for output in expected:
        dtype = np.dtype(details[output.name]["dtype"]).name
        expected_dtype = output.stored_dtype or output.dtype
        if dtype != expected_dtype:
            raise ArtifactError(f"{artifact.path}: {output.name}: {dtype}, expected {expected_dtype} (interface.json)")
    return dict(details)


def check_shapes(details: Mapping[str, dict[str, Any]], expected: tuple[TensorOutput, ...], artifact: Artifact) -> None:
    """Raises ArtifactError unless every tensor has the shape that the interface states."""
    for output in expected:
        shape = tuple(map(int, details[output.name]["shape"]))
        if shape != tuple(output.shape):
            raise ArtifactError(
                f"{artifact.path}: {output.name}: shape {shape}, expected {tuple(output.shape)} (interface.json)"
            )
