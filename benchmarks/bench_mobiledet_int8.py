"""MobileDet: this project's int8 against its own float32 and against the TensorFlow converter's full-integer int8.

`python benchmarks/bench_mobiledet_int8.py [--trained models/trained] [--size 320] [--images 20] [--rounds 40]`

All three files of a variant come from the same deployment graph with the same weights and are calibrated on the same
images: ours by the recipe of the scheme table, the stock one by `tf.lite.TFLiteConverter` with a representative dataset
and `TFLITE_BUILTINS_INT8`. They are timed in turn, 2 threads; the best counts. Prints a table, and as its last line a
JSON object: float32 over our int8 for each variant, and stock int8 over our int8 for `retinanet_mobiledet_cpu`.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tensorflow as tf

from benchmarks.side_by_side import NUM_THREADS, Timing, open_tflite, time_in_turn
from benchmarks.subjects import SETTINGS, draw_pictures, image_input, load_pictures, take_subject
from stages.core.base.native_output import silence_native
from stages.core.converting.recipes import RecipeInput, make_file
from stages.core.exporting.graph import DeploymentGraph
from stages.core.exporting.retinanet import build_retinanet_graph
from stages.core.exporting.tflite import convert_functions, save_functions
from stages.core.results.interface import SIGNATURE
from stages.core.tables.schemes import SCHEMES

VARIANTS = (
    "retinanet_mobiledet_edgetpu",
    "retinanet_mobiledet_dsp",
    "retinanet_mobiledet_gpu",
    "retinanet_mobiledet_cpu",
)
WITH_STOCK_BOUND = ("retinanet_mobiledet_cpu",)


def convert_stock_int8(graph: DeploymentGraph, images: Sequence[np.ndarray]) -> bytes:
    """The TensorFlow converter's full-integer post-training quantization of the same graph."""

    def representative() -> Iterator[list[np.ndarray]]:
        for image in images:
            yield [image]

    with tempfile.TemporaryDirectory() as folder:
        save_functions({SIGNATURE: graph.detect}, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.allow_custom_ops = True
        content: bytes = converter.convert()
    return content


def make_files(
    name: str, trained: Path | None, paths: Sequence[Path], images: Sequence[np.ndarray]
) -> tuple[dict[str, bytes], str]:
    """The three files of one variant, and where the weights come from."""
    size = images[0].shape[1]
    folder = trained / name if trained is not None and (trained / name).is_dir() else None
    with silence_native():
        subject = take_subject(name, size=size, images=images, trained=folder)
        graph = build_retinanet_graph(subject.config.task.model, subject.model, SETTINGS)
        ours = convert_functions({SIGNATURE: graph.detect})
        quantized = make_file(RecipeInput(content=ours, images=paths, spec=image_input(size)), SCHEMES["int8"]).content
        stock = convert_stock_int8(graph, images)
    tf.keras.backend.clear_session()
    return {"float32": ours, "int8": quantized, "stock int8": stock}, subject.weights


def print_variant(name: str, timings: dict[str, Timing], files: dict[str, bytes], weights: str) -> None:
    """A line for each file of a variant."""
    base = timings["int8"].best_ms
    for key, timing in timings.items():
        print(
            f"{name:<18} {key:<11} {timing.best_ms:8.2f} {timing.median_ms:10.2f} {len(files[key]) / 1e6:6.2f}"
            f" {timing.best_ms / base:9.2f}  {weights}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Makes and times the files of each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trained", type=Path, help="folder of trained models; a variant without one there gets random weights, seed 0"
    )
    parser.add_argument("--size", type=int, default=320, help="side of the input in pixels, a multiple of 64")
    parser.add_argument("--images", type=int, default=20, help="calibration images")
    parser.add_argument("--rounds", type=int, default=40, help="timed inferences of each file")
    args = parser.parse_args(argv)
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = draw_pictures(Path(folder), num=args.images, size=args.size)
        images = load_pictures(paths, args.size)
        print(f"{args.size} x {args.size}, {NUM_THREADS} threads, {args.images} calibration images")
        print(f"{'variant':<18} {'file':<11} {'best ms':>8} {'median ms':>10} {'MB':>6} {'over int8':>9}  weights")
        for name in VARIANTS:
            files, weights = make_files(name, args.trained, paths, images)
            runs = {key: open_tflite(content, images[0]) for key, content in files.items()}
            timings = time_in_turn(runs, rounds=args.rounds)
            print_variant(name, timings, files, weights)
            ratios[name] = round(timings["float32"].best_ms / timings["int8"].best_ms, 2)
            if name in WITH_STOCK_BOUND:
                ratios[f"{name}_stock_int8"] = round(timings["stock int8"].best_ms / timings["int8"].best_ms, 2)
    print(json.dumps(ratios))
    return 0


if __name__ == "__main__":
    sys.exit(main())
