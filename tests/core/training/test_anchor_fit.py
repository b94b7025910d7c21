"""Anchors fitted to objects: better where something is better, never worse, the same every time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.core.base.layout import Layout
from stages.core.params.training import AnchorParams, TrainSettings
from stages.core.results.training import FittedAnchors
from stages.core.tables.detectors import DETECTORS
from stages.core.training.anchor_check import MIN_IOU, all_anchors, anchor_recall
from stages.core.training.anchor_fit import AnchorFit, cluster_aspect_ratios, fit_anchors, nearest_overlaps
from stages.core.training.job import plan_training
from tests.experiment_builder import DATA, experiment

pytestmark = pytest.mark.slow

SIDE = 256


def write_shapes(path: Path, shapes: list[tuple[float, float]], *, num: int = 200, seed: int = 0) -> Path:
    """Objects of these heights and widths, each 10 % up or down, anywhere in images of 256x256."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    for index in range(num if shapes else 0):
        height, width = np.asarray(shapes[index % len(shapes)]) * rng.uniform(0.9, 1.1, 2)
        x, y = rng.uniform(0, SIDE - width), rng.uniform(0, SIDE - height)
        annotations.append({"id": index + 1, "image_id": 1, "category_id": 1, "bbox": [x, y, width, height]})
    image = {"id": 1, "file_name": "a.png", "height": SIDE, "width": SIDE}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": [image], "annotations": annotations, "categories": []}))
    return path


def fit(path: Path, shapes: list[tuple[float, float]], *, seed: int = 0, **anchors: Any) -> AnchorFit:
    given, task = AnchorParams(**anchors), experiment(input_size=[SIDE, SIDE], anchors=anchors).task
    return fit_anchors(task, given, write_shapes(path, shapes), seed=seed, section="train.x")


def record(found: AnchorFit) -> FittedAnchors:
    assert found.record is not None
    return found.record


@pytest.mark.parametrize("model", ["retinanet_mobiledet_tiny", "maskrcnn_resnet50"])
@pytest.mark.parametrize("anchors", [{}, {"num_scales": 1, "aspect_ratios": [0.3, 1.7], "size": 2.3}])
def test_the_nearest_cells_reach_what_all_anchors_reach(model: str, anchors: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    low, side = rng.uniform(0, 200, (300, 2)), rng.uniform(4, 120, (300, 2))
    boxes = np.concatenate([low, np.minimum(low + side, [192, 256])], 1).astype(np.float32)
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2] + 1).all(1)]
    config = experiment(model, input_size=[192, 256], anchors=anchors).task.model
    overlaps = nearest_overlaps(boxes, config, AnchorParams(**anchors), (192, 256))
    expected = anchor_recall(boxes, all_anchors(config, (192, 256)))
    assert 0.1 < expected < 1
    assert (overlaps >= MIN_IOU).mean() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("ratios", "num", "expected"),
    [
        ([0.25, 1.0, 3.0], 3, [0.25, 1.0, 3.0]),
        ([0.2] * 3 + [5.0] * 2, 2, [0.2, 5.0]),
        ([1.0], 3, [1.0]),
        ([0.5, 1.0, 2.0], 1, [1.0]),
    ],
)
def test_ratios_are_those_of_the_objects(ratios: list[float], num: int, expected: list[float]) -> None:
    rng = np.random.default_rng(0)
    areas = rng.uniform(100, 5000, 60)
    aspects = np.resize(ratios, 60)
    sides = np.stack([np.sqrt(areas / aspects), np.sqrt(areas * aspects)], 1).astype(np.float32)
    assert cluster_aspect_ratios(sides, num, seed=0) == pytest.approx(expected, abs=0.02)


FLAT = [(9.0, 60.0), (12.0, 90.0), (70.0, 11.0)]


def test_long_objects_get_long_anchors(tmp_path: Path) -> None:
    found = fit(tmp_path / "a.json", FLAT)
    got = record(found)
    assert (got.given_recall, got.recall) == pytest.approx((0.0, 0.9), abs=0.05)
    assert found.anchors == AnchorParams(size=got.size, aspect_ratios=got.aspect_ratios)
    assert min(got.aspect_ratios) < 0.25
    assert max(got.aspect_ratios) > 5
    assert f"anchors: fitted size {got.size:g} and aspect_ratios [" in found.note
    assert f"{100 * got.given_recall:.1f} % with those in params.yaml" in found.note


def test_the_same_seed_gives_the_same_anchors(tmp_path: Path) -> None:
    assert fit(tmp_path / "a.json", FLAT, seed=3) == fit(tmp_path / "b.json", FLAT, seed=3)


@pytest.mark.parametrize("shapes", [[(40.0, 40.0)], [(13.0, 17.0), (200.0, 90.0)], [(2.0, 3.0), (60.0, 61.0)]])
@pytest.mark.parametrize("given", [{}, {"num_scales": 1, "aspect_ratios": [1.0], "size": 3.0}])
def test_a_fit_never_reaches_less_and_keeps_scales_and_cost(
    shapes: list[tuple[float, float]], given: dict[str, Any], tmp_path: Path
) -> None:
    found = fit(tmp_path / "a.json", shapes, **given)
    got = record(found)
    assert got.recall >= got.given_recall
    assert found.anchors.num_scales == AnchorParams(**given).num_scales
    assert 1 <= len(found.anchors.aspect_ratios) <= len(AnchorParams(**given).aspect_ratios)


def test_what_no_anchor_reaches_is_a_warning(tmp_path: Path) -> None:
    found = fit(tmp_path / "a.json", [(2.0, 3.0), (60.0, 61.0)])
    assert record(found).recall < 0.98
    assert found.note.startswith("warning: anchors: fitted size ")
    assert "a larger train.x.input_size may" in found.note


def test_a_split_without_objects_keeps_what_is_given(tmp_path: Path) -> None:
    found = fit(tmp_path / "a.json", [], size=3.5)
    assert (found.anchors.size, found.record) == (3.5, None)
    assert found.note == "anchors: nothing to fit, train has no objects"


@pytest.mark.parametrize("model", ["retinanet_mobiledet_tiny", "maskrcnn_tiny"])
def test_a_training_uses_what_was_fitted(model: str, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_shapes(layout.annotations("train"), FLAT)
    plans = [
        plan_training(
            layout, DETECTORS[model], TrainSettings(anchors=AnchorParams(fit=fits)), DATA, None, lambda text: None
        )
        for fits in (False, True, True)
    ]
    plain, first, second = plans
    assert plain.anchors is None
    assert first.anchors is not None
    anchor = first.config.task.model.anchor
    assert (anchor.anchor_size, tuple(anchor.aspect_ratios)) == (
        first.anchors.anchors.size,
        first.anchors.anchors.aspect_ratios,
    )
    assert plain.config.task.model.anchor.aspect_ratios == [0.5, 1.0, 2.0]
    assert first.key == second.key != plain.key
