"""Intervals against evaluating the drawn images again, and what they must say in plain cases."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stages.core.validating.bootstrap import (
    RESAMPLES,
    draw_images,
    interval_of,
    measure_intervals,
    resample_ap,
)
from stages.core.validating.coco_ap import measure_ap
from stages.core.validating.coco_matching import Comparison, IouType, compare_results
from tests.core.validating.test_coco_ap import for_type, random_scenes


def compare(truth: dict[str, Any], results: list[dict[str, Any]], iou_type: IouType = "bbox") -> Comparison:
    return compare_results(truth, for_type(results, iou_type), iou_type, max_detections=100)


def drawn_again(
    truth: dict[str, Any], results: list[dict[str, Any]], counts: np.ndarray
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The data set in which each image stands as often as it was drawn, under ids of its own."""
    images, annotations, found = [], [], []
    for image, count in zip(sorted(truth["images"], key=lambda entry: entry["id"]), counts.astype(int), strict=True):
        for _ in range(count):
            new = {"image_id": len(images) + 1}
            images.append({**image, "id": len(images) + 1})
            annotations += [{**entry, **new} for entry in truth["annotations"] if entry["image_id"] == image["id"]]
            found += [{**entry, **new} for entry in results if entry["image_id"] == image["id"]]
    return {**truth, "images": images, "annotations": annotations}, found


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(3))
def test_a_draw_equals_evaluating_the_drawn_images(seed: int, iou_type: IouType) -> None:
    truth, results = random_scenes(seed)
    assert any(entry["iscrowd"] for entry in truth["annotations"])
    # Equal scores within an image would come in another order in copies of the image.
    results = [{**entry, "score": entry["score"] + number * 1e-6} for number, entry in enumerate(results)]
    draws = draw_images(len(truth["images"]), resamples=6, seed=seed)

    found = resample_ap(compare(truth, results, iou_type), draws)

    for line, counts in zip(found, draws, strict=True):
        drawn_truth, drawn_results = drawn_again(truth, results, counts)
        again = measure_ap(drawn_truth, for_type(drawn_results, iou_type), iou_type)
        expected = [np.nan if value is None else value for value in again.per_class.values()]
        np.testing.assert_allclose(line, expected, atol=1e-9)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(3))
def test_each_image_once_is_the_number_itself(seed: int, iou_type: IouType) -> None:
    truth, results = random_scenes(seed)
    (found,) = resample_ap(compare(truth, results, iou_type), np.ones((1, len(truth["images"]))))
    expected = measure_ap(truth, for_type(results, iou_type), iou_type).per_class.values()
    np.testing.assert_allclose(found, [np.nan if value is None else value for value in expected], atol=1e-9)


def test_a_draw_without_a_class_leaves_it_out() -> None:
    truth, results = random_scenes(1)
    alone = truth["images"][0]["id"]
    truth["annotations"] = [e for e in truth["annotations"] if e["category_id"] != 1 or e["image_id"] == alone]
    truth["annotations"].append({**truth["annotations"][0], "image_id": alone, "category_id": 1, "iscrowd": 0})
    draws = draw_images(len(truth["images"]), resamples=50)
    by_class = resample_ap(compare(truth, results), draws)
    np.testing.assert_array_equal(np.isnan(by_class[:, 0]), draws[:, 0] == 0)


def test_every_draw_has_as_many_images_as_the_split() -> None:
    draws = draw_images(17)
    assert draws.shape == (RESAMPLES, 17)
    assert set(draws.sum(axis=1)) == {17}
    np.testing.assert_array_equal(draws, draw_images(17))


def test_the_interval_holds_the_number_and_shrinks_with_images() -> None:
    widths = []
    for num_images in (25, 400):
        truth, results = random_scenes(0, num_images=num_images)
        comparison = compare(truth, results)
        intervals = measure_intervals(comparison, comparison)
        ap = measure_ap(truth, for_type(results, "bbox"), "bbox").ap
        assert intervals is not None
        assert intervals.ap is not None
        assert ap is not None
        assert intervals.ap.low < ap < intervals.ap.high
        widths.append(intervals.ap.high - intervals.ap.low)
    assert widths[1] < widths[0] / 2


def test_pairing_cancels_what_images_do_to_both() -> None:
    """A file that loses one detection in twenty: its drop is known far better than either AP."""
    truth, results = random_scenes(3, num_images=120)
    rng = np.random.default_rng(0)
    kept = [entry for entry in results if rng.random() > 0.05]
    found, reference = compare(truth, kept), compare(truth, results)
    intervals = measure_intervals(found, reference)
    assert intervals is not None
    assert intervals.ap is not None
    assert intervals.ap_drop is not None
    assert intervals.ap_drop.high - intervals.ap_drop.low < (intervals.ap.high - intervals.ap.low) / 2

    same = measure_intervals(reference, reference)
    assert same is not None
    assert same.ap_drop is not None
    assert (same.ap_drop.low, same.ap_drop.high) == (0, 0)
    assert set(same.class_ap_drop) == set(reference.class_names)
    assert same.class_ap_drop["never seen"] is None


def test_of_one_image_nothing_can_be_said() -> None:
    truth, results = random_scenes(1, num_images=1)
    comparison = compare(truth, results)
    assert measure_intervals(comparison, comparison) is None


def test_other_images_are_refused() -> None:
    truth, results = random_scenes(1)
    comparison = compare(truth, results)
    with pytest.raises(ValueError, match="different images"):
        measure_intervals(comparison, replace(comparison, image_ids=comparison.image_ids[1:]))


def test_interval_of_nothing_is_none() -> None:
    assert interval_of(np.full(4, np.nan)) is None
    assert interval_of(np.asarray([1.0, np.nan, 1.0])) is not None
