"""`fit_pad`: one scale, top left, padding with the stated colour."""

import numpy as np
import pytest

from stages.core.processing.preprocess import place_image, preprocess_image
from stages.core.results.interface import ImageInput


def spec(**changes: object) -> ImageInput:
    values = {"name": "image", "shape": (1, 64, 96, 3), "dtype": "float32", "pad_value": (124, 116, 104)}
    return ImageInput(**(values | {"normalization": "inside"} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image_size", "resized"),
    [((64, 96), (64, 96)), ((128, 192), (64, 96)), ((128, 64), (64, 32)), ((10, 300), (3, 96)), ((1, 1000), (1, 96))],
    ids=["same", "half", "portrait", "panorama", "never_empty"],
)
def test_the_largest_size_that_fits(image_size: tuple[int, int], resized: tuple[int, int]) -> None:
    assert place_image(image_size, (64, 96)).resized == resized


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_pixels_stay_pixels_and_the_rest_is_padding(dtype: str) -> None:
    image = np.full((64, 32, 3), (250, 10, 77), np.uint8)

    tensor, placement = preprocess_image(image, spec(dtype=dtype))

    assert (tensor.shape, tensor.dtype.name) == ((1, 64, 96, 3), dtype)
    assert (tensor[0, :, :32] == (250, 10, 77)).all()
    assert (tensor[0, :, 32:] == (124, 116, 104)).all()
    assert placement.image_size == (64, 32)


def test_bilinear_with_half_pixel_centres_and_no_antialiasing() -> None:
    ramp = np.repeat(np.arange(0, 192, dtype=np.uint8)[None, :, None], 128, 0).repeat(3, 2)

    tensor, _ = preprocess_image(ramp, spec())

    # The centre of new pixel x lies at 2 x + 0.5: between old pixels 2 x and 2 x + 1.
    np.testing.assert_allclose(tensor[0, 5, :, 0], np.arange(96) * 2 + 0.5, atol=0.5)
