"""OpenVINO IR files on the CPU plugin."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov
import openvino.properties as props
import openvino.properties.hint as hints

from stages.core.base.errors import ArtifactError, InferenceError
from stages.core.base.versions import read_versions
from stages.core.processing.decode import outputs_to_detections, settle_masks
from stages.core.processing.detections import Detections
from stages.core.processing.preprocess import preprocess_image
from stages.core.results.interface import Interface
from stages.core.running.artifact import Artifact
from stages.core.running.runner import first_line

_PACKAGE = "openvino"
DEVICE = "CPU"


class OpenvinoRunner:
    """An IR, compiled and ready."""

    def __init__(self, artifact: Artifact, *, num_threads: int) -> None:
        self.interface: Interface = artifact.interface
        self.runtime = f"{_PACKAGE} {read_versions(_PACKAGE)[_PACKAGE]}"
        self.delegate = "CPU plugin"
        self.outputs: Mapping[str, np.ndarray] = {}
        self.raw_outputs: Mapping[str, np.ndarray] = {}
        model = read_ir(artifact)
        check_tensors(model, artifact)
        # Stated, not guessed: the plugin would compute in bfloat16 where the CPU can, and one stream answers soonest.
        options = {
            props.inference_num_threads(): num_threads,
            hints.performance_mode(): hints.PerformanceMode.LATENCY,
            hints.inference_precision(): ov.Type.f32,
        }
        try:
            self._compiled = ov.Core().compile_model(model, DEVICE, options)
        except RuntimeError as error:
            raise InferenceError(f"{_PACKAGE} refuses {artifact.path.name}: {first_line(error)}") from None
        self._request = self._compiled.create_infer_request()
        self._batch = np.zeros(self.interface.input.shape, self.interface.input.dtype)
        self._row = 0

    @property
    def slow_ops(self) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        for node in self._compiled.get_runtime_model().get_ops():
            about = {str(key): str(value.astype(str)) for key, value in node.get_rt_info().items()}
            if about.get("primitiveType", "").startswith("ref"):
                found[about.get("layerType", node.get_type_name())] += 1
        return dict(sorted(found.items()))

    def infer(self, tensor: np.ndarray) -> Mapping[str, np.ndarray]:
        try:
            self._request.infer({self.interface.input.name: tensor}, share_inputs=True)
            # Copies: the request's own memory is written again by the next inference.
            self.outputs = {
                output.name: np.array(self._request.get_tensor(output.name).data) for output in self.interface.outputs
            }
        except RuntimeError as error:
            raise InferenceError(f"{self.runtime}: inference failed: {first_line(error)}") from None
        return self.outputs

    def run(self, image: np.ndarray) -> Detections:
        tensor, placement = preprocess_image(image, self.interface.input)
        found = self._infer_next(tensor) if len(self._batch) > 1 else self.infer(tensor)
        self.outputs = settle_masks(found, self.interface)
        return outputs_to_detections(self.outputs, self.interface, placement)

    def _infer_next(self, tensor: np.ndarray) -> Mapping[str, np.ndarray]:
        """Outputs of one image in the next row of a batch, between the images before it: all rows are put to use."""
        self._row = (self._row + 1) % len(self._batch)
        self._batch[self._row] = tensor[0]
        row = slice(self._row, self._row + 1)
        return {name: values[row] for name, values in self.infer(self._batch).items()}


def read_ir(artifact: Artifact) -> Any:
    """The model of an IR.

    Raises:
      ArtifactError: if its weights are missing.
      InferenceError: if OpenVINO cannot read it.
    """
    weights = artifact.path.with_suffix(".bin")
    if not weights.is_file():
        raise ArtifactError(
            f"{weights}: no such file; an OpenVINO IR is {artifact.path.name} and {weights.name} together"
        )
    try:
        return ov.Core().read_model(artifact.path, weights)
    except RuntimeError as error:
        raise InferenceError(f"{_PACKAGE} cannot read {artifact.path.name}: {first_line(error)}") from None


def check_tensors(model: Any, artifact: Artifact) -> None:
    """Raises ArtifactError unless inputs and outputs have the names, shapes and types that the interface states."""
    interface = artifact.interface
    inputs: dict[str, Any] = {interface.input.name: (interface.input.shape, interface.input.dtype)}
    outputs = describe_outputs(interface)
    for what, ports, expected in (("inputs", model.inputs, inputs), ("outputs", model.outputs, outputs)):
        found = describe_ports(ports)
        if {name: found.get(name) for name in expected} != expected:
            raise ArtifactError(f"{artifact.path}: {what} {found}, expected {expected} (interface.json)")


def describe_outputs(interface: Interface) -> dict[str, Any]:
    """What `describe_ports` gives for the outputs that an interface states."""
    return {output.name: (tuple(output.shape), output.dtype) for output in interface.outputs}


def describe_ports(ports: Any) -> dict[str, Any]:
    """`describe_port` by name."""
    return {name: describe_port(port) for port in ports for name in port.get_names()}


def describe_port(port: Any) -> tuple[tuple[int, ...], str]:
    """(shape with -1 where it is dynamic, numpy name of the type)."""
    shape = tuple(side.get_length() if side.is_static else -1 for side in port.get_partial_shape())
    return shape, np.dtype(port.get_element_type().to_dtype()).name
