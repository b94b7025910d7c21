import numpy as np
import pytest
import tensorflow as tf
from official.vision.modeling.layers.roi_aligner import MultilevelROIAligner

from stages.core.detectors.region_sampling import MeanROIAligner
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


@pytest.mark.parametrize(("crop_size", "ratio"), [(7, 1), (14, 1), (5, 2), (3, 3)])
@pytest.mark.parametrize("levels", [(2, 5), (3, 6)], ids=["levels_2_to_5", "levels_3_to_6"])
def test_crops_equal_those_of_training(levels: tuple[int, int], crop_size: int, ratio: int) -> None:
    rng = np.random.default_rng(4)
    features = {
        str(level): tf.constant(rng.normal(size=(1, HEIGHT >> level, WIDTH >> level, 5)).astype(np.float32))
        for level in range(levels[0], levels[1] + 1)
    }
    boxes = np.concatenate([EDGES, random_boxes(200)])
    aligner = MultilevelROIAligner(crop_size) if ratio == 1 else MeanROIAligner(crop_size, ratio)
    expected = aligner(features, tf.constant(boxes[np.newaxis]))[0]
    found = align_regions(
        PyramidTable(features), tf.constant(boxes), crop_size=crop_size, sample_offset=0.5, sampling_ratio=ratio
    )
    assert found.shape == (len(boxes), crop_size, crop_size, 5)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_several_samples_are_the_mean_over_a_cell() -> None:
    """On a ramp, whose mean over a cell is its middle, as many samples as wanted give what one gives."""
    ramp = np.broadcast_to(np.arange(32, dtype=np.float32)[:, None, None], (32, 32, 1))
    features = {"3": tf.constant(np.ascontiguousarray(ramp)[np.newaxis])}
    box = tf.constant([[[36.0, 40.0, 196.0, 120.0]]])
    one, many = MultilevelROIAligner(4)(features, box), MeanROIAligner(4, 3)(features, box)
    np.testing.assert_allclose(many, one, atol=1e-5)
    steps = tf.constant(np.ascontiguousarray(np.broadcast_to((ramp % 2), ramp.shape))[np.newaxis])
    assert (
        np.abs(MeanROIAligner(4, 4)({"3": steps}, box) - 0.5).max()
        < np.abs(MultilevelROIAligner(4)({"3": steps}, box) - 0.5).max()
    )
