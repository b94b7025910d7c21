"""One inference of a converted file in a process of its own, before it counts as converted."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stages.core.base.errors import ArtifactError, InferenceError, UserError
from stages.core.base.hashing import hash_file
from stages.core.base.processes import ProcessFailedError, run_in_child
from stages.core.results.interface import Interface, read_interface
from stages.core.results.kinds import Backend
from stages.core.running.artifact import Artifact
from stages.core.running.open import open_runner

NUM_THREADS = 2


def probe_file(path: Path, backend: Backend, *, timeout_s: float) -> str:
    """Runs a converted file once in a fresh process.

    Args:
      path: The model file; interface.json is beside it.
      backend: Its runtime.
      timeout_s: How long one inference may take, opening included.

    Returns:
      Why the file does not count as converted, in one line; empty if it does.
    """
    try:
        run_in_child(run_noise, path.resolve(), backend, timeout_s=timeout_s, doing="running one image")
    except (UserError, InferenceError, ProcessFailedError) as error:
        return " ".join(str(error).split())
    return ""


def run_noise(path: Path, backend: Backend) -> None:
    """Opens a file by its interface and runs one image of noise.

    Raises:
      ArtifactError: if its tensors are not those of its interface, or an output is not finite.
      InferenceError: if the runtime refuses it.
    """
    interface = read_interface(path.parent)
    artifact = Artifact((path,), hash_file(path), backend, interface)
    runner = open_runner(artifact, num_threads=NUM_THREADS)
    pixels = np.random.default_rng(0).integers(0, 256, interface.input.shape, np.uint8)
    outputs = runner.infer(pixels.astype(interface.input.dtype))
    for index in range(len(pixels)):
        check_values({name: values[index : index + 1] for name, values in outputs.items()}, interface)


def check_values(outputs: Mapping[str, np.ndarray], interface: Interface) -> None:
    """Raises ArtifactError unless every number that a caller may read is finite.

    Rows after `num_detections` are nobody's: the post-processing op leaves in them what the memory held.
    """
    num = float(np.asarray(outputs["num_detections"]).reshape(-1)[0])
    most = interface.post_processing.max_detections
    if not 0 <= num <= most:
        raise ArtifactError(f"num_detections is {num}, expected 0..{most}")
    for output in interface.outputs:
        values = outputs[output.name] if output.name == "num_detections" else outputs[output.name][:, : int(num)]
        if not np.isfinite(values).all():
            raise ArtifactError(f"{output.name}: {int((~np.isfinite(values)).sum())} values are not finite")
