"""A model file's tensors: listed, and computed in its own runtime. Called in processes of their own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from stages.core.base.errors import InferenceError
from stages.core.base.native_output import silence_native
from stages.core.bisecting.points import Point, list_points
from stages.core.graphs.flatbuffer import parse_model, read_constants, read_graph
from stages.core.results.kinds import Backend
from stages.core.running.runner import first_line

Values = dict[int, np.ndarray]
"""Tensors as float32 by index."""
NUM_THREADS = 2


def list_file(path: Path, backend: Backend) -> tuple[Point, ...]:
    """Tensors of a file, in execution order.

    Raises:
      ArtifactError: if it cannot be read.
    """
    return LISTERS[backend](path)


def run_file(
    path: Path, backend: Backend, wanted: Sequence[int], name: str, images: Sequence[np.ndarray]
) -> list[Values]:
    """The wanted tensors for each input tensor.

    Args:
      wanted: Tensor indices; name: of the input.

    Raises:
      InferenceError: if the runtime refuses the file.
    """
    try:
        return COMPUTERS[backend](path, wanted, name, images)
    except (RuntimeError, ValueError) as error:
        raise InferenceError(f"{path.name}: {first_line(error)}") from None


def _list_tflite(path: Path) -> tuple[Point, ...]:
    content = path.read_bytes()
    # Tensors of branches have no number that the interpreter knows.
    most = len(parse_model(content, path).subgraphs[0].tensors)
    points = list_points(read_graph(content, path), read_constants(content, path))
    return tuple(point for point in points if point.index < most)


def _list_ir(path: Path) -> tuple[Point, ...]:
    import openvino as ov

    from stages.core.graphs.ir import model_to_graph

    model = ov.Core().read_model(path)
    nodes = [output.get_node() for output in _outputs_of(model)]
    constants = {i: np.asarray(node.data) for i, node in enumerate(nodes) if node.get_type_name() == "Constant"}
    return list_points(model_to_graph(model), constants)


def _outputs_of(model: object) -> list:  # type: ignore[type-arg]
    """Outputs of all nodes in the order in which `model_to_graph` numbers tensors."""
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() != "Result"]  # type: ignore[attr-defined]
    return [output for node in nodes for output in node.outputs()]


def _run_tflite(path: Path, wanted: Sequence[int], name: str, images: Sequence[np.ndarray]) -> list[Values]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # What a delegate computes inside is never written to the tensors.
    with silence_native():
        interpreter = Interpreter(
            str(path),
            num_threads=NUM_THREADS,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    entry = interpreter.get_input_details()[0]["index"]
    found = []
    for image in images:
        interpreter.set_tensor(entry, image)
        interpreter.invoke()
        found.append({index: _to_float(interpreter.get_tensor(index), details[index]) for index in wanted})
    return found


def _to_float(values: np.ndarray, detail: dict) -> np.ndarray:  # type: ignore[type-arg]
    about = detail["quantization_parameters"]
    real = values.astype(np.float64)
    if len(about["scales"]) == 1:
        real = (real - about["zero_points"]) * about["scales"]
    return np.asarray(real, np.float32)


def _run_ir(path: Path, wanted: Sequence[int], name: str, images: Sequence[np.ndarray]) -> list[Values]:
    import openvino as ov
    import openvino.properties.hint as hints
    from openvino import opset13

    model = ov.Core().read_model(path)
    outputs, first = _outputs_of(model), len(model.outputs)
    model.add_results([opset13.result(outputs[index]) for index in wanted])
    request = ov.Core().compile_model(model, "CPU", {hints.inference_precision(): ov.Type.f32}).create_infer_request()
    found = []
    for image in images:
        request.infer({name: image})
        values = [request.get_output_tensor(first + position).data for position in range(len(wanted))]
        found.append({index: np.array(value, np.float32) for index, value in zip(wanted, values, strict=True)})
    return found


LISTERS: dict[Backend, Callable[[Path], tuple[Point, ...]]] = {
    Backend.TFLITE: _list_tflite,
    Backend.OPENVINO: _list_ir,
}
COMPUTERS: dict[Backend, Callable[[Path, Sequence[int], str, Sequence[np.ndarray]], list[Values]]] = {
    Backend.TFLITE: _run_tflite,
    Backend.OPENVINO: _run_ir,
}
"""Backend to what lists the tensors of its files, and to what computes them."""
