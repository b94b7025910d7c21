"""The pre-processing that `Interface.input` states, for everyone who feeds a model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.core.processing.resizing import resize_bilinear
from stages.core.results.interface import ImageInput


@dataclass(frozen=True)
class Placement:
    """Where an image is in the input tensor: its original size, and the size it was resized to (top left)."""

    image_size: tuple[int, int]
    resized: tuple[int, int]
    input_size: tuple[int, int]


def place_image(image_size: tuple[int, int], spec: ImageInput) -> Placement:
    """Where an image of (height, width) pixels goes in the input, by `ImageInput.resize`."""
    input_size = spec.size
    if spec.resize == "stretch":
        return Placement(image_size, input_size, input_size)
    scale = min(input_size[0] / image_size[0], input_size[1] / image_size[1])
    resized = (max(1, round(image_size[0] * scale)), max(1, round(image_size[1] * scale)))
    return Placement(image_size, resized, input_size)


def preprocess_image(image: np.ndarray, spec: ImageInput) -> tuple[np.ndarray, Placement]:
    """Pixels of one image to the input tensor.

    Args:
      image: uint8 [height, width, 3], RGB.
      spec: The input's contract.

    Returns:
      The tensor as the contract states it (ours: [1, H, W, 3] of `spec.dtype`, pixels 0..255), and where the image is.
    """
    placement = place_image((image.shape[0], image.shape[1]), spec)
    height, width = placement.resized
    tensor = np.empty((1, *spec.size, 3), np.uint8)
    tensor[...] = np.asarray(spec.pad_value, np.uint8)
    tensor[0, :height, :width] = resize_bilinear(image, (height, width))
    if spec.takes_pixels:
        return tensor.astype(spec.dtype, copy=False), placement
    return _normalize(tensor, spec), placement


def preprocess_batches(images: Sequence[np.ndarray], spec: ImageInput) -> list[np.ndarray]:
    """One input tensor as the contract states it for each image: the image, and those after it where it is a batch."""
    tensors = [preprocess_image(image, spec)[0] for image in images]
    num = spec.shape[0]
    if num == 1:
        return tensors
    starts = range(len(tensors))
    return [np.concatenate([tensors[(start + row) % len(tensors)] for row in range(num)]) for start in starts]


def _normalize(pixels: np.ndarray, spec: ImageInput) -> np.ndarray:
    """Pixels [1, H, W, 3], RGB, as a brought file takes them: colour order, statistics, storage, layout."""
    ordered = pixels[..., ::-1] if spec.color_order == "BGR" else pixels
    values = (ordered.astype(np.float32) - np.asarray(spec.mean, np.float32)) / np.asarray(spec.deviation, np.float32)
    if spec.scale is not None:
        limits = np.iinfo(spec.dtype)
        values = np.clip(np.rint(values / spec.scale) + spec.zero_point, limits.min, limits.max)
    if spec.layout == "NCHW":
        values = values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(values, dtype=spec.dtype)
