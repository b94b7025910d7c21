"""AP against pycocotools on random data, and against published answers."""

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stages.core.base.errors import DataError
from stages.core.processing.detections import Detections
from stages.core.results.validation import AveragePrecision
from stages.core.validating.coco_ap import CocoResults, measure_ap, read_truth
from stages.core.validating.coco_matching import IouType

SIDE = 160
NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
SAMPLES = os.environ.get("DETECTION_SAMPLES")
needs_samples = pytest.mark.skipif(not SAMPLES, reason="DETECTION_SAMPLES is not set: no published answers to compare")


def encode(mask: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def blob(rng: np.random.Generator, box: np.ndarray) -> np.ndarray:
    """An ellipse that roughly fills a box (x, y, width, height)."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    center, radius = box[:2] + box[2:] / 2, box[2:] / 2 * rng.uniform(0.7, 1.1)
    return ((x - center[0]) / radius[0]) ** 2 + ((y - center[1]) / radius[1]) ** 2 < 1


def random_scenes(seed: int, *, num_images: int = 25) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects of all sizes, a fifth of them crowds, some images empty; detections near, far, of the wrong class."""
    rng = np.random.default_rng(seed)
    images = [{"id": 10 * n + 3, "height": SIDE, "width": SIDE, "file_name": f"{n}.png"} for n in range(num_images)]
    annotations, results = [], []
    for image in images:
        for _ in range(int(rng.integers(0, 6))):
            box = np.concatenate([rng.uniform(0, 100, 2), np.exp(rng.uniform(np.log(6), np.log(140), 2))])
            box[2:] = np.minimum(box[2:], SIDE - box[:2])
            mask = blob(rng, box)
            if not mask.any():
                continue
            category = int(rng.integers(1, 4))
            annotations.append({"id": len(annotations), "image_id": image["id"], "category_id": category,
                                "bbox": box.tolist(), "area": float(mask.sum()), "segmentation": encode(mask),
                                "iscrowd": int(rng.random() < 0.2)})  # fmt: skip
            for _ in range(int(rng.integers(0, 4))):
                near = np.maximum(box + rng.normal(0, 0.1, 4) * box[[2, 3, 2, 3]], 1)
                near[2:] = np.minimum(near[2:], SIDE - np.minimum(near[:2], SIDE - 2))
                found = category if rng.random() < 0.8 else int(rng.integers(1, 4))
                # Scores with few digits: ties must be broken alike.
                results.append({"image_id": image["id"], "category_id": found, "score": round(float(rng.random()), 1),
                                "bbox": near.tolist(), "segmentation": encode(blob(rng, near))})  # fmt: skip
    categories = [{"id": key, "name": name} for key, name in enumerate(("a", "b", "c", "never seen"), start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def pycocotools_summary(truth: dict[str, Any], results: list[dict[str, Any]], iou_type: IouType) -> list[float | None]:
    """The six AP numbers in points, None for -1."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(truth))
        for number, entry in enumerate(coco.dataset["annotations"], start=1):
            entry["id"] = number
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(json.loads(json.dumps(results))), iou_type)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [None if value == -1 else float(value) * 100 for value in evaluator.stats[:6]]


def numbers(found: AveragePrecision) -> list[float | None]:
    return [getattr(found, name) for name in NAMES]


def for_type(results: list[dict[str, Any]], iou_type: IouType) -> list[dict[str, Any]]:
    """Results with only what this kind of evaluation reads."""
    drop = "segmentation" if iou_type == "bbox" else "bbox"
    return [{key: value for key, value in result.items() if key != drop} for result in results]


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(4))
def test_equals_pycocotools_on_random_scenes(seed: int, iou_type: IouType) -> None:
    truth, results = random_scenes(seed)
    assert any(entry["iscrowd"] for entry in truth["annotations"])
    chosen = for_type(results, iou_type)

    found = measure_ap(truth, chosen, iou_type)

    expected = pycocotools_summary(truth, chosen, iou_type)
    assert numbers(found) == pytest.approx(expected, abs=1e-9)
    assert found.per_class["never seen"] is None
    seen = [value for value in found.per_class.values() if value is not None]
    assert found.ap == pytest.approx(np.mean(seen))


def test_more_than_a_hundred_detections_count_only_the_best_hundred() -> None:
    truth, _ = random_scenes(1, num_images=1)
    rng = np.random.default_rng(0)
    results = [
        {"image_id": 3, "category_id": 1, "score": float(rng.random()), "bbox": [*rng.uniform(0, 80, 2), 40.0, 40.0]}
        for _ in range(300)
    ]
    results.append({**results[0], "score": 0.0001, "bbox": truth["annotations"][0]["bbox"]})

    assert numbers(measure_ap(truth, results, "bbox")) == pytest.approx(pycocotools_summary(truth, results, "bbox"))


def test_no_detections_is_zero_and_no_objects_is_none() -> None:
    truth, results = random_scenes(0)

    assert measure_ap(truth, [], "bbox").ap == 0
    nothing = measure_ap({**truth, "annotations": []}, for_type(results, "bbox"), "bbox")
    assert numbers(nothing) == [None] * 6
    assert set(nothing.per_class.values()) == {None}


@pytest.mark.parametrize("form", ["polygons", "numbers"])
def test_true_masks_come_in_every_form_of_an_annotation_file(form: str) -> None:
    truth, results = random_scenes(3)
    for entry in truth["annotations"]:
        entry["segmentation"] = to_polygons(entry) if form == "polygons" else to_numbers(entry)
    chosen = for_type(results, "segm")

    found = numbers(measure_ap(truth, chosen, "segm"))

    assert found == pytest.approx(pycocotools_summary(truth, chosen, "segm"), abs=1e-9)
    assert (found[0] or 0) > 5


def to_polygons(entry: dict[str, Any]) -> list[list[float]]:
    """Two halves of the entry's box, the right one slanted."""
    x, y, width, height = entry["bbox"]
    middle, right, low = x + width / 2, x + width, y + height
    return [[x, y, middle, y, middle, low, x, low], [middle, y, right, y, middle, low]]


def to_numbers(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry's run-length code with its counts as numbers, column by column from the background on."""
    pixels = coco_mask.decode(entry["segmentation"]).ravel(order="F")
    edges = np.flatnonzero(np.diff(pixels, prepend=0, append=1 - pixels[-1]))
    return {"size": [SIDE, SIDE], "counts": np.diff(edges, prepend=0).tolist()}


def test_empty_masks_and_masks_of_unlisted_images_or_classes() -> None:
    truth, results = random_scenes(2)
    results = for_type(results, "segm")
    nothing = encode(np.zeros((SIDE, SIDE)))
    for result in results[::3]:
        result["segmentation"] = nothing
    for entry in truth["annotations"][::4]:
        entry["segmentation"] = nothing
    listed = numbers(measure_ap(truth, results, "segm"))
    strangers = [{**results[1], "image_id": 999, "score": 1.0}, {**results[1], "category_id": 77, "score": 1.0}]

    assert listed == pytest.approx(pycocotools_summary(truth, results, "segm"), abs=1e-9)
    assert numbers(measure_ap(truth, [*strangers, *results], "segm")) == listed


def test_hundreds_of_masks_in_one_image() -> None:
    truth, _ = random_scenes(1, num_images=1)
    rng = np.random.default_rng(0)
    results = [
        {"image_id": 3, "category_id": int(rng.integers(1, 4)), "score": float(rng.random()),
         "segmentation": encode(blob(rng, np.array([*rng.uniform(0, 80, 2), 40.0, 40.0])))}
        for _ in range(450)
    ]  # fmt: skip
    results += [
        {"image_id": 3, "category_id": entry["category_id"], "score": 0.5, "segmentation": entry["segmentation"]}
        for entry in truth["annotations"]
    ]

    found = numbers(measure_ap(truth, results, "segm"))

    assert found == pytest.approx(pycocotools_summary(truth, results, "segm"), abs=1e-9)
    assert (found[0] or 0) > 0


def test_arguments_stay_as_they_were() -> None:
    truth, results = random_scenes(0)
    before = json.dumps([truth, results])

    measure_ap(truth, for_type(results, "segm"), "segm")

    assert json.dumps([truth, results]) == before


def perfect(truth: dict[str, Any], image_id: int) -> Detections:
    """The true objects of an image as detections whose masks fill their boxes."""
    entries = [entry for entry in truth["annotations"] if entry["image_id"] == image_id]
    boxes = np.asarray([entry["bbox"] for entry in entries], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Detections(
        boxes_xyxy=boxes,
        scores=np.full(len(entries), 0.9, np.float32),
        classes=np.asarray([entry["category_id"] for entry in entries], np.int32),
        masks=np.ones((len(entries), 28, 28), np.float32),
        image_size=(SIDE, SIDE),
    )


def test_only_the_given_images_are_judged(tmp_path: Path) -> None:
    truth, _ = random_scenes(2)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(truth))
    some = CocoResults(with_masks=True)
    every = CocoResults(with_masks=False)
    for image in truth["images"][:10]:
        some.add(image["id"], perfect(truth, image["id"]))
        every.add(image["id"], perfect(truth, image["id"]))
    for image in truth["images"][10:]:
        every.add(image["id"], perfect(truth, -1))

    judged = some.measure(path)
    assert judged.box.ap == pytest.approx(100)
    assert judged.mask is not None
    assert 0 < (judged.mask.ap50 or 0) <= 100
    diluted = every.measure(path)
    assert (diluted.box.ap or 0) < 80
    assert diluted.mask is None


def test_an_unknown_image_is_an_error(tmp_path: Path) -> None:
    truth, _ = random_scenes(0)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(truth))

    with pytest.raises(DataError, match=r"annotations\.json: holds no image with id 4"):
        read_truth(path, [3, 4])


PUBLISHED = {
    "bbox": ("instances_val2014_fakebbox100_results.json", (0.505, 0.697, 0.573, 0.586, 0.519, 0.501)),
    "segm": ("instances_val2014_fakesegm100_results.json", (0.320, 0.562, 0.299, 0.387, 0.310, 0.327)),
}
"""Results file and AP, AP50, AP75, small, medium, large as published in val2014_fake_eval_res.txt."""


@needs_samples
@pytest.mark.parametrize("iou_type", PUBLISHED)
def test_reproduces_published_answers(iou_type: IouType) -> None:
    folder = Path(SAMPLES or "") / "coco_eval_oracle"
    name, expected = PUBLISHED[iou_type]
    truth = json.loads((folder / "instances_val2014_100.json").read_text())

    found = measure_ap(truth, json.loads((folder / name).read_text()), iou_type)

    assert [round((value or 0) / 100, 3) for value in numbers(found)] == list(expected)


@needs_samples
@pytest.mark.parametrize(
    ("truth_name", "results_name", "iou_type"),
    [
        ("gt_dataset.json", "dt_dataset.json", "bbox"),
        ("gt_dataset.json", "dt_dataset.json", "segm"),
        ("gt_ignore_test.json", "dt_ignore_test.json", "bbox"),
    ],
)
def test_ignored_regions_count_as_in_pycocotools(truth_name: str, results_name: str, iou_type: IouType) -> None:
    folder = Path(SAMPLES or "") / "coco_eval_oracle"
    truth = json.loads((folder / truth_name).read_text())
    for image in truth["images"]:
        image["id"] = int(image["id"])
    for entry in truth["annotations"]:
        entry["image_id"] = int(entry["image_id"])
    results = json.loads((folder / results_name).read_text())

    found = measure_ap(truth, results, iou_type)

    assert numbers(found) == pytest.approx(pycocotools_summary(truth, results, iou_type))
