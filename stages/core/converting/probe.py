"""One inference of a converted file in a process of its own, before it counts as converted.

`python -m stages.core.converting.probe <file> --backend tflite`: exit status 0 and nothing said, or 1 and one line that
says why. A runtime that takes its process down with it ends by a signal instead; `probe_file` tells all of these apart.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stages.core.converting.child import REFUSED, run_child
from stages.core.errors import ArtifactError, UserError
from stages.core.hashing import hash_file
from stages.core.interface import Interface, read_interface
from stages.core.running.artifact import Artifact
from stages.core.running.runner import InferenceError, open_runner
from stages.core.schemes import Backend

MODULE = "stages.core.converting.probe"
NUM_THREADS = 2


def probe_file(path: Path, backend: Backend, *, timeout_s: float) -> str:
    """Runs a converted file once in a fresh process.

    Args:
      path: The model file; interface.json lies beside it.
      backend: Its runtime.
      timeout_s: How long one inference may take, opening included.

    Returns:
      Why the file does not count as converted, in one line; empty if it does.
    """
    arguments = (str(path.resolve()), "--backend", backend.value)
    return run_child(MODULE, *arguments, timeout_s=timeout_s, doing="running one image")


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


def main(argv: Sequence[str] | None = None) -> int:
    """The child: opens the file by its interface and runs one image of noise."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}")
    parser.add_argument("file", type=Path)
    parser.add_argument("--backend", type=Backend, required=True)
    args = parser.parse_args(argv)
    try:
        interface = read_interface(args.file.parent)
        artifact = Artifact((args.file,), hash_file(args.file), args.backend, interface)
        runner = open_runner(artifact, num_threads=NUM_THREADS)
        pixels = np.random.default_rng(0).integers(0, 256, interface.input.shape, np.uint8)
        check_values(runner.infer(pixels.astype(interface.input.dtype)), interface)
    except (UserError, InferenceError) as error:
        print(" ".join(str(error).split()))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
