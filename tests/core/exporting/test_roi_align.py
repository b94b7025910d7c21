import numpy as np
import pytest
import tensorflow as tf
from official.vision.ops.spatial_transform_ops import multilevel_crop_and_resize

from stages.core.exporting.roi_align import PyramidTable, align_regions

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 256, 512
EDGES = np.asarray(
    [
        [0, 0, 0, 0],  # the rows after the last detection
        [0, 0, HEIGHT, WIDTH],
        [HEIGHT - 1, WIDTH - 1, HEIGHT, WIDTH],
        [10, 10, 10, 60],  # no height
        [0, 0, 112, 112],  # exactly on a level's border
        [0, 0, 56, 56],
        [250.5, 3, 256, 510],
    ],
    np.float32,
)


def random_boxes(num: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    low, high = (np.sort(rng.uniform(0, side, (num, 2))) for side in (HEIGHT, WIDTH))
    return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1).astype(np.float32)


@pytest.mark.parametrize("crop_size", [7, 14])
@pytest.mark.parametrize("levels", [(2, 5), (3, 6)], ids=["levels_2_to_5", "levels_3_to_6"])
def test_crops_equal_model_gardens(levels: tuple[int, int], crop_size: int) -> None:
    rng = np.random.default_rng(4)
    features = {
        str(level): tf.constant(rng.normal(size=(1, HEIGHT >> level, WIDTH >> level, 5)).astype(np.float32))
        for level in range(levels[0], levels[1] + 1)
    }
    boxes = np.concatenate([EDGES, random_boxes(200)])
    expected = multilevel_crop_and_resize(features, tf.constant(boxes[np.newaxis]), crop_size, sample_offset=0.5)[0]
    found = align_regions(PyramidTable(features), tf.constant(boxes), crop_size=crop_size, sample_offset=0.5)
    np.testing.assert_allclose(found, expected, atol=1e-4)
