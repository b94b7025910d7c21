"""Training's evaluations paste masks as the evaluation of files does."""

import numpy as np
import pytest
from official.vision.ops import mask_ops

from stages.core.masks.pasting import paste_mask
from stages.core.training.mask_pasting import paste_masks, pasted_exactly

pytestmark = pytest.mark.slow
HEIGHT, WIDTH = 60, 80
BOXES = np.asarray([[10.3, 5.7, 30.2, 41.9], [-6.5, -3.2, 25.0, 20.4], [60.1, 40.6, 44.0, 33.3]])
"""x, y, width, height; two reach out of the image."""


def blobs() -> np.ndarray:
    """Smooth probabilities above one half in the middle: float32 [3, 28, 28]."""
    axis = np.linspace(-1, 1, 28)
    return np.stack([np.exp(-(axis[:, None] ** 2 + (axis - shift) ** 2)) for shift in (0.0, 0.2, -0.3)]).astype("f4")


def test_masks_are_those_of_files_but_for_a_few_pixels_on_the_border() -> None:
    for mask, box, pasted in zip(blobs(), BOXES, paste_masks(blobs(), BOXES, HEIGHT, WIDTH), strict=True):
        wanted = np.zeros((HEIGHT, WIDTH), bool)
        x, y, width, height = box
        own, top, left = paste_mask(mask, np.asarray([x, y, x + width, y + height]), (HEIGHT, WIDTH))
        wanted[top : top + own.shape[0], left : left + own.shape[1]] = own
        assert set(np.unique(pasted)) == {0, 1}
        # OpenCV interpolates between 32 steps of a pixel.
        assert (pasted.astype(bool) != wanted).sum() <= 0.01 * wanted.sum()


def test_boxes_without_area_have_empty_masks() -> None:
    boxes = np.asarray([[0.0, 0, 0, 0], [5, 5, 0, 9]])
    assert not paste_masks(np.ones((2, 28, 28), np.float32), boxes, HEIGHT, WIDTH).any()


def test_model_gardens_function_is_its_own_again_after_an_error() -> None:
    original = mask_ops.paste_instance_masks

    def fail() -> None:
        with pasted_exactly():
            assert mask_ops.paste_instance_masks is paste_masks
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert mask_ops.paste_instance_masks is original
