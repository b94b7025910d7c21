"""SSDLite on MobileDetEdgeTPU: int8 against float32, in one run.

`python benchmarks/bench_ssdlite_int8.py [--trained models/trained] [--size 320] [--images 20] [--rounds 40]`

Files come from the same deployment graph with the same weights, as the scheme table makes them: in the builtin form,
and in the form that ends in the post-processing op. They are timed in turn, 2 threads; the best counts. Prints a table,
and as its last line a JSON object: float32 over int8 for each form. The goal is 2 or more.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.side_by_side import NUM_THREADS, open_tflite, time_in_turn
from benchmarks.subjects import SETTINGS, draw_pictures, image_input, load_pictures, take_subject
from stages.core.base.native_output import silence_native
from stages.core.converting.recipes import RecipeInput, make_file
from stages.core.exporting.ssdlite import build_ssdlite_graph
from stages.core.exporting.tflite import convert_functions
from stages.core.results.interface import SIGNATURE
from stages.core.tables.schemes import SCHEMES

MODEL = "ssdlite_mobiledet_edgetpu"
FORMS = {"builtin": ("float32", "int8"), "postprocess_op": ("float32_postprocess_op", "int8_postprocess_op")}
"""Form of the graph to its schemes."""


def make_files(
    paths: Sequence[Path], images: Sequence[np.ndarray], trained: Path | None
) -> tuple[dict[str, bytes], str]:
    """The file of each scheme, and where the weights come from."""
    size = images[0].shape[1]
    folder = trained / MODEL if trained is not None and (trained / MODEL).is_dir() else None
    files = {}
    with silence_native():
        subject = take_subject(MODEL, size=size, images=images, trained=folder)
        graph = build_ssdlite_graph(subject.config.task.model, subject.model, SETTINGS)
        for form, function in (("builtin", graph.detect), ("postprocess_op", graph.with_op)):
            source = RecipeInput(content=convert_functions({SIGNATURE: function}), images=paths, spec=image_input(size))
            files |= {scheme: make_file(source, SCHEMES[scheme]).content for scheme in FORMS[form]}
    return files, subject.weights


def main(argv: Sequence[str] | None = None) -> int:
    """Makes and times the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trained", type=Path, help="folder of trained models; without it, random weights of seed 0")
    parser.add_argument("--size", type=int, default=320, help="side of the input in pixels")
    parser.add_argument("--images", type=int, default=20, help="calibration images")
    parser.add_argument("--rounds", type=int, default=40, help="timed inferences of each file")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        paths = draw_pictures(Path(folder), num=args.images, size=args.size)
        images = load_pictures(paths, args.size)
        files, weights = make_files(paths, images, args.trained)
        runs = {scheme: open_tflite(content, images[0]) for scheme, content in files.items()}
        timings = time_in_turn(runs, rounds=args.rounds)
    print(f"{MODEL}, {args.size} x {args.size}, {NUM_THREADS} threads, {args.images} calibration images; {weights}")
    print(f"{'file':<24} {'best ms':>8} {'median ms':>10} {'MB':>6}")
    for scheme, timing in timings.items():
        print(f"{scheme:<24} {timing.best_ms:8.2f} {timing.median_ms:10.2f} {len(files[scheme]) / 1e6:6.2f}")
    ratios = {form: round(timings[slow].best_ms / timings[fast].best_ms, 2) for form, (slow, fast) in FORMS.items()}
    print(json.dumps(ratios))
    return 0


if __name__ == "__main__":
    sys.exit(main())
