"""Images as programs send them, and detections as plain values for the way back."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.masks.pasting import detections_to_rles
from stages.core.predicting.inputs import UnreadableError, decode_picture, read_picture
from stages.core.processing.detections import Detections

SCORE_THRESHOLD = 0.3
"""Detections below are left out unless a caller says otherwise."""
FOLDER_ARTIFACT = "folder"
"""What an MLflow model calls its converted folder."""
LONGEST_PATH = 4096
EXPECTED = "expected the path of an image file, its bytes, its bytes in base64, or pixels as uint8 [height, width, 3]"


def read_request(image: Any) -> np.ndarray:
    """The pixels of one image of a request: uint8 [height, width, 3], RGB.

    Args:
      image: Path of an image file; its bytes; its bytes in base64, with or without a `data:` head; pixels as an array
        or as nested lists, RGB 0..255 ([height, width] is grey, a fourth channel is dropped); {"image": any of these}.

    Raises:
      UnreadableError: if it is none of these, or cannot be decoded.
    """
    if isinstance(image, Mapping) and len(image) == 1:
        return read_request(next(iter(image.values())))
    if isinstance(image, bytes | bytearray):
        return decode_picture(bytes(image))
    if isinstance(image, Path):
        return read_picture(image)
    if isinstance(image, str):
        return _read_text(image)
    if isinstance(image, np.ndarray | Sequence):
        return _read_pixels(image)
    raise UnreadableError(f"an image of type {type(image).__name__}; {EXPECTED}")


def detections_to_answer(detections: Detections, labels: Mapping[int, str]) -> dict[str, Any]:
    """One image's detections as plain values, best first.

    Returns:
      `boxes`: [x_min, y_min, x_max, y_max] in pixels of the image; `classes`: names; `class_ids`: category ids;
      `scores`: 0..1; `masks`, only of a model that has them: COCO's compressed run-length codes of the whole image.
    """
    answer: dict[str, Any] = {
        "boxes": detections.boxes_xyxy.tolist(),
        "classes": [labels.get(category, str(category)) for category in detections.classes.tolist()],
        "class_ids": detections.classes.tolist(),
        "scores": detections.scores.tolist(),
    }
    if detections.masks is not None:
        answer["masks"] = [rle_to_text(rle) for rle in detections_to_rles(detections)]
    return answer


def rle_to_text(rle: Mapping[str, Any]) -> dict[str, Any]:
    """A compressed run-length code that JSON can hold."""
    counts = rle["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [int(side) for side in rle["size"]], "counts": text}


def _read_text(text: str) -> np.ndarray:
    if not text.startswith("data:") and len(text) < LONGEST_PATH and "\0" not in text and Path(text).is_file():
        return read_picture(Path(text))
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise UnreadableError(f"{text[:60]!r} is neither a file nor base64; {EXPECTED}")
    return decode_picture(data)


def _read_pixels(image: Any) -> np.ndarray:
    try:
        array = np.asarray(image)
    except ValueError:
        raise UnreadableError(f"lists of different lengths; {EXPECTED}") from None
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    is_whole = np.issubdtype(array.dtype, np.integer) and array.size and array.min() >= 0 and array.max() <= 255
    if not is_whole or array.ndim != 3 or array.shape[2] not in (3, 4):
        raise UnreadableError(f"an array of shape {array.shape} and type {array.dtype}; {EXPECTED}")
    return np.ascontiguousarray(array[..., :3], np.uint8)
