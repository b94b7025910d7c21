"""Pictures of coloured objects as decoded samples: an object's colour tells its class, its pixels tell its box."""

from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

COLORS = {
    1: (250, 20, 20),
    2: (20, 250, 20),
    3: (20, 20, 250),
    4: (250, 250, 20),
    5: (250, 20, 250),
    6: (20, 250, 250),
}
TRIANGLE, CROWD = 5, 6
"""Objects of class 5 are triangles, all others rectangles; objects of class 6, and those alone, are crowds."""
BACKGROUND = 40
SEEDS = st.integers(0, 2**31 - 1)
SPEC = {
    "image": tf.TensorSpec([None, None, 3], tf.uint8),
    "height": tf.TensorSpec([], tf.int64),
    "width": tf.TensorSpec([], tf.int64),
    "source_id": tf.TensorSpec([], tf.string),
    "groundtruth_boxes": tf.TensorSpec([None, 4], tf.float32),
    "groundtruth_classes": tf.TensorSpec([None], tf.int64),
    "groundtruth_is_crowd": tf.TensorSpec([None], tf.bool),
    "groundtruth_area": tf.TensorSpec([None], tf.float32),
    "groundtruth_instance_masks": tf.TensorSpec([None, None, None], tf.float32),
}
BOX_SPEC = {key: spec for key, spec in SPEC.items() if not key.endswith("masks")}
SEED_SPEC = tf.TensorSpec([2], tf.int32)


def draw_sample(
    size: tuple[int, int], rectangles: dict[tuple[int, int, int, int], int], *, mask_type: Any = np.float32
) -> dict[str, np.ndarray]:
    """A sample with masks.

    Args:
      size: Height and width.
      rectangles: (y_min, x_min, y_max, x_max) in pixels to class; they must not overlap.
    """
    image = np.full((*size, 3), BACKGROUND, np.uint8)
    masks = np.zeros((len(rectangles), *size), mask_type)
    for mask, ((top, left, bottom, right), category) in zip(masks, rectangles.items(), strict=True):
        shape = np.ones((bottom - top, right - left), bool)
        if category == TRIANGLE:
            rows, columns = np.indices(shape.shape)
            shape = columns * (bottom - top) <= rows * (right - left)
            shape[-1] = True
        mask[top:bottom, left:right] = shape
        image[mask > 0] = COLORS[category]
    classes = np.asarray(list(rectangles.values()), np.int64)
    return {
        "image": image,
        "height": np.int64(size[0]),
        "width": np.int64(size[1]),
        "source_id": np.asarray(b"7"),
        "groundtruth_boxes": np.asarray(list(rectangles), np.float32).reshape(-1, 4) / np.float32([*size, *size]),
        "groundtruth_classes": classes,
        "groundtruth_is_crowd": classes == CROWD,
        "groundtruth_area": np.sum(masks, axis=(1, 2), dtype=np.float32),
        "groundtruth_instance_masks": masks,
    }


def random_sample(seed: int, size: tuple[int, int], count: int) -> dict[str, np.ndarray]:
    """A sample with up to `count` objects of at least one pixel, each in a column of its own."""
    generator = np.random.default_rng(seed)
    edges = np.unique(np.linspace(0, size[1], count + 1).astype(int))
    rectangles = {}
    for low, high in pairwise(edges) if count else ():
        top, left = generator.integers(size[0]), generator.integers(low, high)
        bottom, right = generator.integers(top, size[0]) + 1, generator.integers(left, high) + 1
        rectangles[int(top), int(left), int(bottom), int(right)] = int(generator.integers(1, len(COLORS) + 1))
    return draw_sample(size, rectangles)


def samples(low: int = 1, high: int = 70, count: int = 5) -> st.SearchStrategy[dict[str, np.ndarray]]:
    """Samples of any aspect with 0 to `count` objects."""
    sides = st.integers(low, high)
    return st.builds(random_sample, SEEDS, st.tuples(sides, sides), st.integers(0, count))


def without_masks(sample: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sample.items() if key in BOX_SPEC}


def to_seed(value: int) -> Any:
    return tf.constant([value, 3], tf.int32)


def to_numpy(sample: dict[str, Any]) -> dict[str, np.ndarray]:
    return {key: np.asarray(value) for key, value in sample.items()}


def boxes_in_pixels(sample: dict[str, np.ndarray]) -> np.ndarray:
    """Float32 [n, 4]."""
    return sample["groundtruth_boxes"] * np.float32([*sample["image"].shape[:2]] * 2)


def tight_box(mask: np.ndarray) -> list[int]:
    """[y_min, x_min, y_max, x_max] of a mask's pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]


def assert_consistent(sample: dict[str, np.ndarray]) -> None:
    """Shapes, types and ranges, and crowds that are still those of their class."""
    spec = SPEC if "groundtruth_instance_masks" in sample else BOX_SPEC
    assert sample.keys() == spec.keys()
    for key, value in sample.items():
        assert spec[key].dtype == tf.string or value.dtype == spec[key].dtype.as_numpy_dtype, key
        assert spec[key].shape.is_compatible_with(value.shape), key
    count = len(sample["groundtruth_boxes"])
    assert {len(value) for key, value in sample.items() if key.startswith("groundtruth_")} == {count}
    assert min(sample["image"].shape) > 0
    assert (sample["height"], sample["width"]) == sample["image"].shape[:2]
    boxes = sample["groundtruth_boxes"]
    assert np.isfinite(boxes).all()
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (sample["groundtruth_area"] > 0).all()
    np.testing.assert_array_equal(sample["groundtruth_is_crowd"], sample["groundtruth_classes"] == CROWD)
    if spec is SPEC:
        assert sample["groundtruth_instance_masks"].shape[1:] == sample["image"].shape[:2]
        assert np.isin(sample["groundtruth_instance_masks"], (0, 1)).all()


def assert_exact(sample: dict[str, np.ndarray]) -> None:
    """Boxes, masks, areas and colours agree to the pixel: nothing was resized."""
    assert_consistent(sample)
    for index, mask in enumerate(sample["groundtruth_instance_masks"]):
        np.testing.assert_allclose(boxes_in_pixels(sample)[index], tight_box(mask), atol=1e-3)
        np.testing.assert_allclose(sample["groundtruth_area"][index], mask.sum(), rtol=1e-4)
        color = COLORS[int(sample["groundtruth_classes"][index])]
        assert (sample["image"][mask > 0] == color).all()


def assert_close(sample: dict[str, np.ndarray], *, is_in_color: bool = True) -> None:
    """Boxes agree with the masks within a pixel, and the middle of an object is nearest to the colour of its class.

    An object of a pixel that was enlarged fades into what is around it up to its middle.
    """
    assert_consistent(sample)
    for index, mask in enumerate(sample["groundtruth_instance_masks"]):
        category = int(sample["groundtruth_classes"][index])
        outside = (boxes_in_pixels(sample)[index] - tight_box(mask)) * [1, 1, -1, -1]
        assert outside.max() < 1.01
        # The tips of a triangle are narrower than a pixel of a smaller mask.
        assert outside.min() > -1.01 or category == TRIANGLE
        inner = mask[2:, 2:] * mask[:-2, :-2] * mask[2:, :-2] * mask[:-2, 2:] > 0
        if is_in_color and inner.any():
            color = np.median(sample["image"][1:-1, 1:-1][inner].astype(float), axis=0)
            assert min(COLORS, key=lambda kind: np.abs(color - COLORS[kind]).max()) == category, color
