"""The pre-processing that `Interface.input` states, for everyone who feeds a model."""

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
      The tensor, [1, H, W, 3] of `spec.dtype` with values 0..255, and where the image is in it.
    """
    placement = place_image((image.shape[0], image.shape[1]), spec)
    height, width = placement.resized
    tensor = np.empty(spec.shape, np.uint8)
    tensor[...] = np.asarray(spec.pad_value, np.uint8)
    tensor[0, :height, :width] = resize_bilinear(image, (height, width))
    return tensor.astype(spec.dtype, copy=False), placement
