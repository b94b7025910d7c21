"""`fit_pad`: one scale, top left, padding with the stated colour; `stretch`: the whole input, nothing padded."""

import json
from pathlib import Path

import numpy as np
import pytest

from stages.core.base.errors import ArtifactError
from stages.core.base.jsonfile import read_json, write_json
from stages.core.processing.decode import boxes_to_pixels
from stages.core.processing.preprocess import place_image, preprocess_image
from stages.core.results.interface import ImageInput

SHAPES = [(64, 64), (200, 100), (60, 180), (101, 37), (33, 97), (1, 500)]
"""1:1, 2:1, 1:3, odd sizes, and a strip."""


def spec(**changes: object) -> ImageInput:
    values = {"name": "image", "shape": (1, 64, 96, 3), "dtype": "float32", "pad_value": (124, 116, 104)}
    return ImageInput(**(values | {"normalization": "inside"} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image_size", "resized"),
    [((64, 96), (64, 96)), ((128, 192), (64, 96)), ((128, 64), (64, 32)), ((10, 300), (3, 96)), ((1, 1000), (1, 96))],
    ids=["same", "half", "portrait", "panorama", "never_empty"],
)
def test_the_largest_size_that_fits(image_size: tuple[int, int], resized: tuple[int, int]) -> None:
    assert place_image(image_size, spec()).resized == resized
    assert place_image(image_size, spec(resize="stretch")).resized == (64, 96)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_pixels_stay_pixels_and_the_rest_is_padding(dtype: str) -> None:
    image = np.full((64, 32, 3), (250, 10, 77), np.uint8)

    tensor, placement = preprocess_image(image, spec(dtype=dtype))

    assert (tensor.shape, tensor.dtype.name) == ((1, 64, 96, 3), dtype)
    assert (tensor[0, :, :32] == (250, 10, 77)).all()
    assert (tensor[0, :, 32:] == (124, 116, 104)).all()
    assert placement.image_size == (64, 32)


@pytest.mark.parametrize("image_size", SHAPES, ids=str)
@pytest.mark.parametrize("resize", ["fit_pad", "stretch"])
def test_a_box_goes_there_and_back(image_size: tuple[int, int], resize: str) -> None:
    """Over the input's sides, as a graph gives boxes, and back to pixels: exact but for the rounding of float32."""
    placement = place_image(image_size, spec(resize=resize))
    height, width = image_size
    boxes = np.asarray([[0, 0, width, height], [0.25 * width, 0.5 * height, 0.75 * width, height]], np.float32)
    scale_y, scale_x = (new / old for new, old in zip(placement.resized, image_size, strict=True))
    to_input = np.asarray([scale_y / 64, scale_x / 96, scale_y / 64, scale_x / 96], np.float32)

    there = boxes[:, [1, 0, 3, 2]] * to_input

    assert there.max() <= 1 + 1e-6
    np.testing.assert_allclose(boxes_to_pixels(there, placement), boxes, rtol=1e-6)


def test_a_stretched_image_fills_the_input() -> None:
    image = np.full((30, 90, 3), (250, 10, 77), np.uint8)
    tensor, _ = preprocess_image(image, spec(resize="stretch"))
    assert (tensor == (250, 10, 77)).all()


def test_a_file_that_does_not_say_is_a_letterbox(tmp_path: Path) -> None:
    """What earlier exports wrote is read as they meant it."""
    path = tmp_path / "input.json"
    write_json(spec(), path)
    tree = json.loads(path.read_text())
    assert tree.pop("resize") == "fit_pad"
    path.write_text(json.dumps(tree))
    assert read_json(ImageInput, path) == spec()
    path.write_text(json.dumps(tree | {"resize": "crop"}))
    with pytest.raises(ArtifactError, match="resize"):
        read_json(ImageInput, path)


def test_bilinear_with_half_pixel_centres_and_no_antialiasing() -> None:
    ramp = np.repeat(np.arange(0, 192, dtype=np.uint8)[None, :, None], 128, 0).repeat(3, 2)

    tensor, _ = preprocess_image(ramp, spec())

    # The centre of new pixel x lies at 2 x + 0.5: between old pixels 2 x and 2 x + 1.
    np.testing.assert_allclose(tensor[0, 5, :, 0], np.arange(96) * 2 + 0.5, atol=0.5)
