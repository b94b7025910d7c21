"""A finished file that is its own reference: run in its own runtime, without TensorFlow.

Not by the runners of `running`: what is changed there would make every reference anew, those of TensorFlow too.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.base.errors import ArtifactError
from stages.core.base.native_output import silence_native
from stages.core.results.interface import Interface
from stages.core.results.kinds import Backend

Outputs = dict[str, np.ndarray]
FloatModel = Callable[[np.ndarray], tuple[Outputs, Outputs]]
"""One input tensor to (outputs, raw outputs) by name, with the batch dimension."""

NUM_THREADS = 2


def load_finished(path: Path, backend: Backend, interface: Interface) -> FloatModel:
    """A finished file as a function.

    Raises:
      ArtifactError: if its runtime refuses it.
    """
    try:
        return LOADERS[backend](path, interface)
    except (RuntimeError, ValueError) as error:
        raise ArtifactError(f"{path}: its runtime refuses it: {' '.join(str(error).split())[:300]}") from None


def _load_tflite(path: Path, interface: Interface) -> FloatModel:
    from ai_edge_litert.interpreter import Interpreter

    with silence_native():
        interpreter = Interpreter(str(path), num_threads=NUM_THREADS)
        interpreter.allocate_tensors()
        run = interpreter.get_signature_runner(interface.signature)
    details = run.get_output_details()
    stored = {output.name: details[output.name] for output in interface.outputs if output.stored_dtype}

    def call(image: np.ndarray) -> tuple[Outputs, Outputs]:
        found = {name: np.array(values) for name, values in run(**{interface.input.name: image}).items()}
        return found | {name: _to_real(found[name], about) for name, about in stored.items()}, {}

    return call


def _to_real(values: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    about = details["quantization_parameters"]
    real: np.ndarray = (values.astype(np.float64) - about["zero_points"]) * about["scales"]
    return real.astype(np.float32)


def _load_openvino(path: Path, interface: Interface) -> FloatModel:
    import openvino as ov
    import openvino.properties.hint as hints

    compiled = ov.Core().compile_model(path, "CPU", {hints.inference_precision(): ov.Type.f32})
    request = compiled.create_infer_request()

    def call(image: np.ndarray) -> tuple[Outputs, Outputs]:
        request.infer({interface.input.name: image})
        return {output.name: np.array(request.get_tensor(output.name).data) for output in interface.outputs}, {}

    return call


LOADERS: dict[Backend, Callable[[Path, Interface], FloatModel]] = {
    Backend.TFLITE: _load_tflite,
    Backend.OPENVINO: _load_openvino,
}
