"""The project's COCO evaluator against pycocotools: same numbers, how much sooner?

`python benchmarks/bench_evaluator.py [--images 1000] [--detections 50] [--repeats 3]`

Both get the same ground truth and the same results in memory and run in this process, in turns; the best of each one's
repeats counts. Prints a table, and as its last line a JSON object with pycocotools' time over ours.
"""

import argparse
import contextlib
import copy
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stages.core.validating.coco_ap import measure_ap
from stages.core.validating.coco_matching import IouType

SIDE = 320
NUM_CLASSES = 10
DIGITS = 6
NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
Results = list[dict[str, Any]]


def make_scenes(num_images: int, num_detections: int, seed: int = 0) -> tuple[dict[str, Any], Results]:
    """Ground truth with crowds and 1-15 objects an image; detections around them and by chance.

    A detection's mask is an ellipse in its box, drawn once per size and shape so that making the data stays quick.
    """
    rng = np.random.default_rng(seed)
    images = [{"id": n, "height": SIDE, "width": SIDE, "file_name": f"{n}.png"} for n in range(1, num_images + 1)]
    annotations: Results = []
    results: Results = []
    for image in images:
        truths = random_boxes(rng, int(rng.integers(1, 16)))
        classes = rng.integers(1, NUM_CLASSES + 1, len(truths))
        for box, category in zip(truths, classes, strict=True):
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], "category_id": int(category),
                                "iscrowd": int(rng.random() < 0.02), "bbox": box.tolist(),
                                "area": float(box[2] * box[3]), "segmentation": ellipse(box)})  # fmt: skip
        picked = rng.integers(0, len(truths), num_detections)
        near = truths[picked] + rng.normal(0, 0.08, (num_detections, 4)) * truths[picked][:, [2, 3, 2, 3]]
        by_chance = rng.random(num_detections) < 0.4
        boxes = np.where(by_chance[:, None], random_boxes(rng, num_detections), near)
        boxes[:, :2] = np.clip(boxes[:, :2], 0, SIDE - 4)
        boxes[:, 2:] = np.clip(boxes[:, 2:], 3, SIDE - boxes[:, :2])
        confused = rng.random(num_detections) < 0.2
        found = np.where(confused, rng.integers(1, NUM_CLASSES + 1, num_detections), classes[picked])
        for box, category, score in zip(boxes, found, rng.random(num_detections), strict=True):
            results.append({"image_id": image["id"], "category_id": int(category), "score": float(score),
                            "bbox": box.tolist(), "segmentation": ellipse(box)})  # fmt: skip
    categories = [{"id": key, "name": f"class {key}"} for key in range(1, NUM_CLASSES + 1)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def random_boxes(rng: np.random.Generator, num: int) -> np.ndarray:
    """(x, y, width, height) inside the picture, sides from 8 to 200 pixels: float64 [num, 4]."""
    sides = np.exp(rng.uniform(np.log(8), np.log(200), (num, 2)))
    return np.concatenate([rng.random((num, 2)) * (SIDE - sides), sides], axis=1)


def ellipse(box: np.ndarray) -> dict[str, Any]:
    """Run-length code of the ellipse in a box."""
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    points = box[:2] + box[2:] / 2 * (1 + np.stack([np.cos(angles), np.sin(angles)], axis=1))
    rle: dict[str, Any] = coco_mask.frPyObjects([points.ravel().tolist()], SIDE, SIDE)[0]
    return rle


def run_ours(truth: dict[str, Any], results: Results, iou_type: IouType) -> list[float]:
    """The six AP numbers in points, by the project's evaluator."""
    found = measure_ap(truth, results, iou_type)
    return [getattr(found, name) for name in NAMES]


def run_pycocotools(truth: dict[str, Any], results: Results, iou_type: IouType) -> list[float]:
    """The same by pycocotools."""
    coco = COCO()
    coco.dataset = truth
    coco.createIndex()
    evaluator = COCOeval(coco, coco.loadRes(results), iou_type)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return [float(value) * 100 for value in evaluator.stats[:6]]


def time_once(run: Callable[..., list[float]], *arguments: Any) -> tuple[float, list[float]]:
    """Wall time in seconds, and the numbers; the run gets fresh copies, made before the clock starts."""
    copies = copy.deepcopy(arguments)
    with contextlib.redirect_stdout(io.StringIO()):
        start = time.perf_counter()
        numbers = run(*copies)
        return time.perf_counter() - start, numbers


def time_both(*arguments: Any, repeats: int) -> tuple[tuple[float, list[float]], tuple[float, list[float]]]:
    """Best time and the numbers of ours and of pycocotools; in turns, so that a busy machine slows both."""
    runs = [(time_once(run_ours, *arguments), time_once(run_pycocotools, *arguments)) for _ in range(repeats)]
    return min(ours for ours, _ in runs), min(theirs for _, theirs in runs)


def main(argv: Sequence[str] | None = None) -> int:
    """Times both; status 1 when their numbers differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--detections", type=int, default=50, help="per image")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args(argv)
    truth, results = make_scenes(args.images, args.detections)
    print(
        f"{args.images} images, {len(truth['annotations'])} objects, {len(results)} detections, {NUM_CLASSES} classes"
    )
    print(f"{'kind':<6} {'AP':>9} {'AP50':>9} {'ours s':>8} {'pycocotools s':>14} {'ratio':>6}")
    total_ours = total_theirs = 0.0
    for iou_type, dropped in (("bbox", "segmentation"), ("segm", "bbox")):
        chosen = [{key: value for key, value in result.items() if key != dropped} for result in results]
        (ours, found), (theirs, expected) = time_both(truth, chosen, iou_type, repeats=args.repeats)
        if not np.allclose(found, expected, rtol=0, atol=10**-DIGITS):
            print(f"{iou_type}: the numbers differ: {found}, pycocotools: {expected}", file=sys.stderr)
            return 1
        total_ours, total_theirs = total_ours + ours, total_theirs + theirs
        print(f"{iou_type:<6} {found[0]:9.6f} {found[1]:9.6f} {ours:8.2f} {theirs:14.2f} {theirs / ours:6.1f}")
    print(f"all six numbers of both kinds agree to {DIGITS} digits")
    print(json.dumps({"evaluator": round(total_theirs / total_ours, 2)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
