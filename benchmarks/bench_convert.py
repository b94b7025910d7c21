"""All TFLite schemes of one model: this project's way against one `TFLiteConverter` call for each scheme.

`python benchmarks/bench_convert.py [--model retinanet_mobiledet_edgetpu] [--trained models/trained/...] [--images 100]`

Our way is one conversion to a float32 file for each form of the graph, and the recipes of the scheme table from there.
The stock way is one `tf.lite.TFLiteConverter.from_saved_model` call a scheme, with that scheme's options. Both start
from the same functions, calibrate on the same images, and neither runs nor proves what it made. Prints a table, and as
its last line a JSON object with the stock time over ours.
"""

import argparse
import contextlib
import functools
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tensorflow as tf

from benchmarks.subjects import SETTINGS, draw_pictures, image_input, load_pictures, take_subject
from stages.core.base.native_output import silence_native
from stages.core.converting.recipes import RecipeInput, make_file
from stages.core.exporting.export import GRAPHS
from stages.core.exporting.tflite import convert_functions, save_functions
from stages.core.results.interface import SIGNATURE
from stages.core.results.kinds import Backend, Form, Precision, Variant
from stages.core.tables.detectors import DETECTORS, Family
from stages.core.tables.schemes import SCHEMES, Scheme

BUILTINS = tf.lite.OpsSet.TFLITE_BUILTINS
OPS = {
    Precision.FLOAT32: [BUILTINS],
    Precision.INT8: [tf.lite.OpsSet.TFLITE_BUILTINS_INT8],
    # With float for what has no 16-bit kernel, as the converter's guide says; without, the post-processing op stops it.
    Precision.INT16: [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8, BUILTINS],
}
"""What the TensorFlow converter needs for activations of a type."""


def choose_schemes(forms: Sequence[Form]) -> list[Scheme]:
    """The TFLite rows that start from trained weights and from one of these forms."""
    rows = SCHEMES.values()
    return [r for r in rows if r.backend is Backend.TFLITE and r.source is Variant.TRAINED and r.form in forms]


def convert_stock(saved_model: Path, scheme: Scheme, images: Sequence[np.ndarray]) -> bytes:
    """One call of the TensorFlow converter with the options of a scheme."""

    def representative() -> Iterator[list[np.ndarray]]:
        for image in images:
            yield [image]

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    converter.allow_custom_ops = True
    converter.target_spec.supported_ops = OPS[scheme.activations]
    if scheme.weights is not Precision.FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if scheme.weights is Precision.FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if scheme.needs_calibration:
        converter.representative_dataset = representative
    if scheme.input is Precision.UINT8:
        converter.inference_input_type = tf.uint8
    content: bytes = converter.convert()
    return content


def time_once(run: Callable[[], Any]) -> tuple[float, Any, str]:
    """Seconds of one call, what it gave, and the last line of what stopped it, if anything did."""
    start = time.perf_counter()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            given = run()
    except (RuntimeError, ValueError) as error:
        return time.perf_counter() - start, None, str(error).strip().splitlines()[-1][:80]
    return time.perf_counter() - start, given, ""


def main(argv: Sequence[str] | None = None) -> int:
    """Times both ways, scheme by scheme."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    one_stage = [name for name, row in DETECTORS.items() if row.family is Family.RETINANET]
    parser.add_argument("--model", choices=one_stage, default="retinanet_mobiledet_edgetpu")
    parser.add_argument("--trained", type=Path, help="folder that `train` wrote; without it: random weights, seed 0")
    parser.add_argument("--size", type=int, default=320, help="side of the input in pixels, a multiple of 64")
    parser.add_argument("--images", type=int, default=100, help="calibration images")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = draw_pictures(folder, num=args.images, size=args.size)
        images = load_pictures(paths, args.size)
        with silence_native():
            subject = take_subject(args.model, size=args.size, images=images, trained=args.trained)
            graph = GRAPHS[DETECTORS[args.model].family](subject.config.task.model, subject.model, SETTINGS)
        print(
            f"{args.model} at {args.size} x {args.size}, {args.images} calibration images; weights: {subject.weights}"
        )
        ours, stock = compare(graph, folder, paths, images, args.size)
    print(f"{'all':<24} {ours:8.2f} {stock:8.2f} {stock / ours:6.1f}")
    print(json.dumps({"all_schemes": round(stock / ours, 2)}))
    return 0


def compare(
    graph: Any, folder: Path, paths: Sequence[Path], images: Sequence[np.ndarray], size: int
) -> tuple[float, float]:
    """Seconds of both ways over all schemes; prints a line for each step."""
    functions = {Form.BUILTIN: graph.detect, Form.POSTPROCESS_OP: graph.with_op}
    sources: dict[Form, RecipeInput] = {}
    total_ours = total_stock = 0.0
    print(f"{'step':<24} {'ours s':>8} {'stock s':>8}")
    for form, function in functions.items():
        with silence_native():
            save_functions({SIGNATURE: function}, folder / form)
            seconds, content, _ = time_once(functools.partial(convert_functions, {SIGNATURE: function}))
        sources[form] = RecipeInput(content=content, images=paths, spec=image_input(size))
        total_ours += seconds
        print(f"{f'float file, {form}':<24} {seconds:8.2f}")
    for scheme in choose_schemes(list(functions)):
        with silence_native():
            ours, _, failed = time_once(functools.partial(make_file, sources[scheme.form], scheme))
            stock, _, stopped = time_once(functools.partial(convert_stock, folder / scheme.form, scheme, images))
        said = "; ".join(f"{who}: {what}" for who, what in (("ours", failed), ("stock", stopped)) if what)
        print(f"{scheme.name:<24} {ours:8.2f} {stock:8.2f} {said}")
        total_ours, total_stock = total_ours + ours, total_stock + stock
    return total_ours, total_stock


if __name__ == "__main__":
    sys.exit(main())
