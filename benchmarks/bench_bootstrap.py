"""The intervals of AP and AP drop: drawing counted matches against evaluating every draw again.

`python benchmarks/bench_bootstrap.py [--images 200] [--detections 50] [--again 10]`

Both get the same ground truth, the same results of a file and of a float model, and the same draws of images. 1,000
draws are counted. A few of them are also evaluated anew, on a data set that holds each image as often as it was drawn,
and the time of 1,000 is projected from these. Prints a table, and as its last line a JSON object with the factor. It
fails when the two disagree, and with status 1 when 1,000 draws of 200 images take 10 seconds or more.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench_evaluator import Results, make_scenes
from stages.core.validating.bootstrap import RESAMPLES, draw_images, measure_intervals, resample_ap
from stages.core.validating.coco_ap import measure_ap
from stages.core.validating.coco_matching import IouType, compare_results

MAX_DETECTIONS = 100
LIMIT_S, LIMIT_IMAGES = 10.0, 200
Tree = dict[str, Any]


def lose_some(results: Results, share: float, seed: int = 1) -> Results:
    """What a file finds that loses a share of the float model's detections."""
    kept = np.random.default_rng(seed).random(len(results)) > share
    return [result for result, keep in zip(results, kept, strict=True) if keep]


def draw_again(truth: Tree, results: Results, counts: np.ndarray) -> tuple[Tree, Results]:
    """The data set of one draw: each image as often as it was drawn, under ids of its own."""
    objects, found = (group(entries) for entries in (truth["annotations"], results))
    images: Results = []
    drawn: tuple[Results, Results] = ([], [])
    for image, count in zip(truth["images"], counts.astype(int), strict=True):
        for _ in range(count):
            images.append({**image, "id": len(images) + 1})
            for new, entries in zip(drawn, (objects, found), strict=True):
                new += [{**entry, "image_id": len(images)} for entry in entries[image["id"]]]
    return {**truth, "images": images, "annotations": drawn[0]}, drawn[1]


def group(entries: Results) -> dict[int, Results]:
    """Entries by image."""
    grouped: dict[int, Results] = defaultdict(list)
    for entry in entries:
        grouped[entry["image_id"]].append(entry)
    return grouped


def time_both(truth: Tree, results: Results, iou_type: IouType, again: int) -> tuple[float, float]:
    """Seconds for the intervals of file and float model from 1,000 draws, and for evaluating them anew (projected).

    Raises:
      AssertionError: if a draw gives another AP than evaluating it.
    """
    file, draws = lose_some(results, 0.03), draw_images(len(truth["images"]))
    found, reference = (
        compare_results(truth, some, iou_type, max_detections=MAX_DETECTIONS) for some in (file, results)
    )
    start = time.perf_counter()
    intervals = measure_intervals(found, reference)
    seconds = time.perf_counter() - start
    assert intervals is not None
    by_class = resample_ap(found, draws[:again])
    spent = 0.0
    for counts, counted in zip(draws[:again], by_class, strict=True):
        pairs = [draw_again(truth, some, counts) for some in (file, results)]
        start = time.perf_counter()
        evaluated = [measure_ap(*pair, iou_type) for pair in pairs]
        spent += time.perf_counter() - start
        expected = [np.nan if value is None else value for value in evaluated[0].per_class.values()]
        np.testing.assert_allclose(counted, expected, atol=1e-6)
    return seconds, spent / again * RESAMPLES


def main(argv: Sequence[str] | None = None) -> int:
    """Times both, boxes and masks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=LIMIT_IMAGES)
    parser.add_argument("--detections", type=int, default=50, help="per image")
    parser.add_argument("--again", type=int, default=10, help="draws that are evaluated anew")
    args = parser.parse_args(argv)
    truth, results = make_scenes(args.images, args.detections)
    print(f"{args.images} images, {len(truth['annotations'])} objects, {len(results)} detections, {RESAMPLES} draws")
    print(f"{'kind':<6} {'counted s':>10} {'evaluated anew s':>17} {'factor':>8}")
    factors, too_slow = {}, False
    for iou_type, dropped in (("bbox", "segmentation"), ("segm", "bbox")):
        chosen = [{key: value for key, value in result.items() if key != dropped} for result in results]
        seconds, again = time_both(truth, chosen, iou_type, args.again)
        factors[iou_type] = again / seconds
        too_slow |= args.images <= LIMIT_IMAGES and seconds >= LIMIT_S
        print(f"{iou_type:<6} {seconds:10.2f} {again:17.1f} {again / seconds:8.0f}")
    print(f"all of {args.again} draws agree with their evaluation to 6 digits")
    print(json.dumps({"bootstrap": {kind: round(factor) for kind, factor in factors.items()}}))
    return int(too_slow)


if __name__ == "__main__":
    sys.exit(main())
