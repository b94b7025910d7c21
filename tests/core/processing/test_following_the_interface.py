"""A client that knows nothing but `interface.json` feeds a model the tensors that every measurement was made with."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stages.core.base.jsonfile import write_json
from stages.core.processing.preprocess import preprocess_image
from stages.core.results.interface import ImageInput

SHAPES = [(64, 64), (480, 640), (200, 100), (101, 37), (33, 97), (17, 500)]


def stated(tmp_path: Path, **changes: Any) -> tuple[ImageInput, dict[str, Any]]:
    """An input, and the JSON that a client reads."""
    values = {"name": "image", "shape": (1, 64, 96, 3), "dtype": "float32", "pad_value": (124, 116, 104)}
    spec = ImageInput(**(values | {"normalization": "inside"} | changes))
    write_json(spec, tmp_path / "input.json")
    tree: dict[str, Any] = json.loads((tmp_path / "input.json").read_text())
    return spec, tree


def size_in(tree: dict[str, Any], height: int, width: int) -> tuple[int, int]:
    _, input_height, input_width, _ = tree["shape"]
    if tree["resize"] == "stretch":
        return input_height, input_width
    scale = min(input_height / height, input_width / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def by_opencv(tree: dict[str, Any], image: np.ndarray) -> np.ndarray:
    """The stated steps with OpenCV, whose filter for 8-bit pixels is the stated one."""
    assert (tree["resize_dtype"], tree["interpolation"]) == ("uint8", "bilinear")
    assert (tree["half_pixel_centers"], tree["antialias"]) == (True, False)
    height, width = size_in(tree, *image.shape[:2])
    tensor = np.zeros(tree["shape"], np.uint8) + np.asarray(tree["pad_value"], np.uint8)
    tensor[0, :height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return tensor.astype(tree["dtype"])


def by_arithmetic(tree: dict[str, Any], image: np.ndarray, *, rounded: bool) -> np.ndarray:
    """The stated filter written out in floats."""

    def weights(old: int, new: int) -> np.ndarray:
        position = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        return np.maximum(0.0, 1.0 - np.abs(position[:, None] - np.arange(old)[None]))

    height, width = size_in(tree, *image.shape[:2])
    rows, columns = weights(image.shape[0], height), weights(image.shape[1], width)
    resized = np.einsum("yi,xj,ijc->yxc", rows, columns, image.astype(np.float64), optimize=True)
    tensor = np.zeros(tree["shape"]) + np.asarray(tree["pad_value"])
    tensor[0, :height, :width] = np.floor(resized + 0.5) if rounded else resized
    return tensor


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("resize", ["fit_pad", "stretch"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_client_gets_the_same_tensor(dtype: str, resize: str, shape: tuple[int, int], tmp_path: Path) -> None:
    spec, tree = stated(tmp_path, dtype=dtype, resize=resize)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    tensor, _ = preprocess_image(image, spec)
    client = by_opencv(tree, image)
    assert client.dtype == tensor.dtype
    np.testing.assert_array_equal(client, tensor)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("resize", ["fit_pad", "stretch"])
def test_the_filter_is_the_stated_one(resize: str, shape: tuple[int, int], tmp_path: Path) -> None:
    spec, tree = stated(tmp_path, resize=resize)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    tensor, _ = preprocess_image(image, spec)
    assert np.abs(by_arithmetic(tree, image, rounded=True) - tensor).max() <= 1
    assert np.abs(by_arithmetic(tree, image, rounded=False) - tensor).max() < 1


def test_resizing_floats_would_give_other_values(tmp_path: Path) -> None:
    spec, tree = stated(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    tensor, _ = preprocess_image(image, spec)
    assert np.abs(by_arithmetic(tree, image, rounded=False) - tensor).max() > 0.4
    assert (tensor == np.round(tensor)).all()
