"""The built-in scenes: exact masks, several classes, varying sizes, occlusion, and the same bytes for the same seed."""

from pathlib import Path

import numpy as np
import pytest

from stages.core.datasets.synthetic import MIN_VISIBLE_FRACTION, SHAPES, Scene, draw_scene, read_synthetic
from stages.core.datasets.workers import Workers
from stages.core.masks.segmentations import segmentation_to_mask


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(np.random.default_rng([7, index]), 128, 4) for index in range(80)]


def test_sizes_vary_within_their_bounds(scenes: list[Scene]) -> None:
    shapes = [scene.pixels.shape[:2] for scene in scenes]
    assert all(max(shape) == 128 and 96 <= min(shape) <= 128 for shape in shapes)
    assert len(set(shapes)) > 20
    assert any(height > width for height, width in shapes)
    assert any(height < width for height, width in shapes)


def test_both_sides_may_be_given() -> None:
    scene = draw_scene(np.random.default_rng(3), (64, 128), 4)
    assert scene.pixels.shape == (64, 128, 3)
    assert scene.objects


def test_one_to_four_objects_of_every_class(scenes: list[Scene]) -> None:
    assert {len(scene.objects) for scene in scenes} == {1, 2, 3, 4}
    assert {category for scene in scenes for category, _ in scene.objects} == set(range(1, len(SHAPES) + 1))


def test_visible_masks_do_not_overlap_and_leave_enough_to_see(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert (np.sum([mask for _, mask in scene.objects], axis=0) <= 1).all()
        assert all(mask.sum() >= 60 for _, mask in scene.objects)
    assert 0 < MIN_VISIBLE_FRACTION < 1


def test_shapes_occlude_each_other(scenes: list[Scene]) -> None:
    def touch(first: np.ndarray, second: np.ndarray) -> bool:
        return bool((first[:, 1:] & second[:, :-1]).any() or (first[:, :-1] & second[:, 1:]).any())

    pairs = [
        touch(a, b) for scene in scenes for i, (_, a) in enumerate(scene.objects) for _, b in scene.objects[i + 1 :]
    ]
    assert 0.05 < np.mean(pairs) < 0.7


def test_masks_follow_the_drawn_edges(scenes: list[Scene]) -> None:
    """Colours jump across a mask's outline far more than elsewhere."""
    ratios = []
    for scene in scenes:
        step = np.abs(np.diff(scene.pixels.astype(float), axis=1)).sum(axis=-1)
        outline = np.any([mask[:, 1:] != mask[:, :-1] for _, mask in scene.objects], axis=0)
        ratios.append(step[outline].mean() / step[~outline].mean())
    assert np.median(ratios) > 2


def read(folder: Path, seed: int) -> dict[str, bytes]:
    folder.mkdir()
    with Workers() as workers:
        source = read_synthetic(
            folder, workers, num_images={"train": 3, "val": 2, "test": 0}, size=64, max_objects=3, seed=seed
        )
        images = list(source.images)
    assert [image.split for image in images] == ["train"] * 3 + ["val"] * 2
    assert source.labels == {1: "circle", 2: "square", 3: "triangle"}
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    assert read(tmp_path / "a", 1) == read(tmp_path / "b", 1)
    assert read(tmp_path / "c", 2) != read(tmp_path / "d", 1)


def test_boxes_are_those_of_the_masks(tmp_path: Path) -> None:
    with Workers() as workers:
        source = read_synthetic(
            tmp_path, workers, num_images={"train": 4, "val": 0, "test": 0}, size=64, max_objects=3, seed=0
        )
        for image in source.images:
            assert image.size is not None
            for found in image.objects:
                mask = segmentation_to_mask(found.segmentation, *image.size)
                assert found.box_xyxy is not None
                x_min, y_min, x_max, y_max = (int(value) for value in found.box_xyxy)
                assert mask[y_min:y_max, x_min:x_max].sum() == mask.sum() == found.area
