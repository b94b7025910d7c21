"""One inference of a converted file in a process of its own, before it counts as converted.

`python -m stages.core.converting.probe <file> --backend tflite`: exit status 0 and nothing said, or 1 and one line that
says why. A runtime that takes its process down with it ends by a signal instead; `probe_file` tells all of these apart.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import stages
from stages.core.errors import ArtifactError, UserError
from stages.core.hashing import hash_file
from stages.core.interface import Interface, read_interface
from stages.core.running.artifact import Artifact
from stages.core.running.isolated import describe_crash
from stages.core.running.runner import InferenceError, open_runner
from stages.core.schemes import Backend

MODULE = "stages.core.converting.probe"
REFUSED = 1
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
    command = [sys.executable, "-m", MODULE, str(path.resolve()), "--backend", backend.value]
    project = Path(next(iter(stages.__path__))).parent
    try:
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, errors="replace", timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return f"no result within {timeout_s:g} s in a fresh process"
    if done.returncode < 0:
        return describe_crash(done.returncode, done.stderr, "running one image")
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        return (
            said[0 if done.returncode == REFUSED and done.stdout.strip() else -1].strip() if said else "no reason told"
        )
    return ""


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
        artifact = Artifact(args.file, hash_file(args.file), args.backend, interface)
        runner = open_runner(artifact, num_threads=NUM_THREADS)
        pixels = np.random.default_rng(0).integers(0, 256, interface.input.shape, np.uint8)
        check_values(runner.infer(pixels.astype(interface.input.dtype)), interface)
    except (UserError, InferenceError) as error:
        print(" ".join(str(error).split()))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
