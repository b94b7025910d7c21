"""Mask R-CNN: Model Garden's own TFLite export against this project's deployment graph, same weights, same input.

`python benchmarks/bench_maskrcnn_export.py [--trained models/trained/maskrcnn_mobiledet] [--size 320] [--rounds 40]
[--objects 10]`

The stock way is `official.vision.serving` with `input_type='tflite'` and `nms_version: v2`, then a
`tf.lite.TFLiteConverter` without options. Both graphs give up to the same number of detections with masks; the stock
one looks at the model's own number of proposals. Its int8 is tried too, in a process of its own, and what becomes of it
is printed.

Ours skips masks of rows without a detection, so its time depends on the picture: both graphs get a score threshold that
leaves `--objects` detections on the timed one. The lines `every row` are the same files without skipping, which is what
a picture full of detections costs. The files are timed in turn, 2 threads; the best counts. Prints a table, and as its
last line a JSON object with the stock float32 time over ours.
"""

import argparse
import dataclasses
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tensorflow as tf
from official.vision.serving.detection import DetectionModule

from benchmarks.side_by_side import NUM_THREADS, Timing, open_tflite, run_once, time_in_turn
from benchmarks.subjects import SETTINGS, Subject, draw_pictures, image_input, load_pictures, take_subject
from stages.core.base.native_output import silence_native
from stages.core.converting.recipes import RecipeInput, make_file
from stages.core.detectors.build import restore_weights
from stages.core.exporting.graph import DeploymentGraph, PostProcessingSettings
from stages.core.exporting.maskrcnn import build_maskrcnn_graph
from stages.core.exporting.tflite import convert_functions
from stages.core.params.steps import ConvertParams
from stages.core.results.interface import SIGNATURE
from stages.core.tables.detectors import SIGNED
from stages.core.tables.schemes import SCHEMES

MODEL = "maskrcnn_mobiledet"
INT8_TIMEOUT_S = 300
CALIBRATE = """
import pickle, sys
import tensorflow as tf
saved_model, images = sys.argv[1:]
converter = tf.lite.TFLiteConverter.from_saved_model(saved_model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
with open(images, "rb") as file:
    converter.representative_dataset = lambda arrays=pickle.load(file): ([array] for array in arrays)
converter.convert()
"""


def choose_threshold(graph: DeploymentGraph, image: np.ndarray, objects: int) -> float:
    """The score between the last detection of `objects` and the next; the graph's own where it finds no more."""
    scores = np.sort(graph.detect(tf.constant(image))["detection_scores"].numpy().ravel())[::-1]
    if len(scores) <= objects or scores[objects] <= SETTINGS.score_threshold:
        return SETTINGS.score_threshold
    return float(scores[objects - 1 : objects + 1].mean())


def export_stock(subject: Subject, size: int, settings: PostProcessingSettings, folder: Path) -> bytes:
    """Model Garden's export of the same weights: a SavedModel in `folder`, and its float32 .tflite."""
    prefix = tf.train.Checkpoint(model=subject.model).write(str(folder / "weights"))
    config = subject.config
    config.task.model.detection_generator.nms_version = "v2"
    config.task.model.detection_generator.max_num_detections = settings.max_detections
    config.task.model.detection_generator.pre_nms_score_threshold = settings.score_threshold
    # The batched suppression of regions has no TFLite builtin.
    config.task.model.roi_generator.use_batched_nms = False
    module = DetectionModule(params=config, batch_size=1, input_image_size=[size, size], input_type="tflite")
    for layer in module.model.backbone._flatten_layers():
        if hasattr(layer, "epsilon"):  # Model Garden has one for all batch norms
            layer.epsilon = config.task.model.backbone_norm_epsilon
    signatures = module.get_inference_signatures({"tflite": SIGNATURE})
    restore_weights(module.model, Path(prefix))
    tf.saved_model.save(module, str(folder / "stock"), signatures=signatures)
    content: bytes = tf.lite.TFLiteConverter.from_saved_model(str(folder / "stock")).convert()
    return content


def normalize(image: np.ndarray) -> np.ndarray:
    """What the stock graph expects its caller to have done to the pixels."""
    return np.asarray((image - np.asarray(SIGNED.mean)) / np.asarray(SIGNED.deviation), np.float32)


def try_stock_int8(saved_model: Path, images: Sequence[np.ndarray], folder: Path) -> str:
    """Post-training quantization of the stock export in a child process, and how it ended."""
    (folder / "images.pickle").write_bytes(pickle.dumps([normalize(image) for image in images]))
    command = [sys.executable, "-c", CALIBRATE, str(saved_model), str(folder / "images.pickle")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INT8_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"not done after {INT8_TIMEOUT_S} s"
    if done.returncode < 0:
        return f"cannot be made: the converter dies of signal {-done.returncode}"
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return f"cannot be made: {last[:160]}" if done.returncode else "was made; compare it too"


def make_files(args: argparse.Namespace, folder: Path) -> tuple[dict[str, bytes], list[np.ndarray], str]:
    """The files by name, the calibration images as tensors, and where the weights come from."""
    paths = draw_pictures(folder, num=args.images, size=args.size)
    images = load_pictures(paths, args.size)
    with silence_native():
        subject = take_subject(MODEL, size=args.size, images=images, trained=args.trained)
        settings = dataclasses.replace(SETTINGS, max_detections=args.detections)
        graph = build_maskrcnn_graph(subject.config.task.model, subject.model, settings)
        settings = dataclasses.replace(settings, score_threshold=choose_threshold(graph, images[0], args.objects))
        graph = build_maskrcnn_graph(subject.config.task.model, subject.model, settings)
        ours = convert_functions({SIGNATURE: graph.detect})
        files = {"stock float32": export_stock(subject, args.size, settings, folder)}
        for scheme in ("float32", "int8"):
            for name, block in ((scheme, ConvertParams().mask_block), (f"{scheme}, every row", 0)):
                source = RecipeInput(content=ours, images=paths, spec=image_input(args.size), mask_block=block)
                files[name] = make_file(source, SCHEMES[scheme]).content
    return files, images, subject.weights


def print_table(timings: dict[str, Timing], files: dict[str, bytes], found: dict[str, Any]) -> None:
    """One line a file."""
    base = timings["stock float32"]
    print(
        f"{'graph':<18} {'best ms':>8} {'median ms':>10} {'MB':>6} {'found':>6} {'times faster':>13} {'by median':>10}"
    )
    for name, timing in timings.items():
        best, median = base.best_ms / timing.best_ms, base.median_ms / timing.median_ms
        print(
            f"{name:<18} {timing.best_ms:8.2f} {timing.median_ms:10.2f} {len(files[name]) / 1e6:6.2f}"
            f" {found[name]:6} {best:13.2f} {median:10.2f}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Makes and times the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trained", type=Path, help="folder that `train` wrote; without it: random weights, seed 0")
    parser.add_argument("--size", type=int, default=320, help="side of the input in pixels, a multiple of 64")
    parser.add_argument(
        "--detections", type=int, default=SETTINGS.max_detections, help="most detections of either graph"
    )
    parser.add_argument("--objects", type=int, default=10, help="detections on the timed picture")
    parser.add_argument("--images", type=int, default=20, help="calibration images")
    parser.add_argument("--rounds", type=int, default=40, help="timed inferences of each file")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, images, weights = make_files(args, folder)
        fed = {key: normalize(images[0]) if key.startswith("stock") else images[0] for key in files}
        found = {key: int(run_once(content, fed[key])["num_detections"].ravel()[0]) for key, content in files.items()}
        runs = {key: open_tflite(content, fed[key]) for key, content in files.items()}
        timings = time_in_turn(runs, rounds=args.rounds)
        print(f"{MODEL} at {args.size} x {args.size}, {NUM_THREADS} threads; weights: {weights}")
        regions = SETTINGS.num_proposals or "as many as trained with"
        print(f"up to {args.detections} detections; the box head sees {regions} regions in ours")
        print_table(timings, files, found)
        print(f"stock int8: {try_stock_int8(folder / 'stock', images[:2], folder)}")
    stock = timings["stock float32"].best_ms
    print(json.dumps({key: round(stock / timings[key].best_ms, 2) for key in ("float32", "int8")}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
