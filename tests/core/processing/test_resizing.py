"""Our resizing is OpenCV's, bit for bit."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.processing.resizing import resize_bilinear

SIDES = st.integers(1, 300)


@settings(deadline=None, max_examples=150)
@given(old=st.tuples(SIDES, SIDES), new=st.tuples(SIDES, SIDES), seed=st.integers(0, 2**32 - 1))
def test_every_size_is_resized_as_opencv_does(old: tuple[int, int], new: tuple[int, int], seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (*old, 3), np.uint8)
    expected = cv2.resize(image, new[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize_bilinear(image, new), expected.reshape(*new, 3))


def test_the_same_size_is_a_copy() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    same = resize_bilinear(image, (2, 3))
    np.testing.assert_array_equal(same, image)
    assert not np.shares_memory(same, image)
