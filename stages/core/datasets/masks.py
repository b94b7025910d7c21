"""Masks between the forms they come in: COCO polygons and run-length codes, arrays, PNG bytes."""

import math
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from stages.core.datasets.samples import Box, Rle

MAX_COORDINATE_FACTOR = 4
"""Polygon corners farther out than so many image sides are refused: the rasteriser's memory grows with edge length."""


class MaskError(ValueError):
    """A segmentation that cannot be turned into a mask; the text says why."""


def encode_mask(mask: np.ndarray) -> Rle:
    """A bool or 0/1 array [height, width] as compressed run-length code."""
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return Rle(height=mask.shape[0], width=mask.shape[1], counts=code["counts"].decode("ascii"))


def decode_mask(rle: Rle) -> np.ndarray:
    """The mask as a bool array [height, width]."""
    return np.asarray(coco_mask.decode(rle.to_coco()), np.bool_)


def mask_to_png(mask: np.ndarray) -> bytes:
    """PNG bytes of a mask with pixel values 0 and 1, as the Object Detection API's records hold it."""
    done, data = cv2.imencode(".png", mask.astype(np.uint8))
    if not done:
        raise MaskError(f"mask of shape {mask.shape} cannot be written as PNG")
    return bytes(data)


def mask_to_box(mask: np.ndarray) -> Box:
    """The tightest box around a mask that is not empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def segmentation_to_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """A COCO `segmentation` (polygons, or RLE with counts as text or as a list) as a bool array [height, width].

    Raises:
      MaskError: if it is malformed, of another size than the image, or covers no pixel.
    """
    try:
        to_code = _rle_to_code if isinstance(segmentation, dict) else _polygons_to_code
        mask = np.asarray(coco_mask.decode(to_code(segmentation, height, width)), np.bool_)
    except MaskError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        raise MaskError(f"segmentation cannot be read: {error}") from None
    if not mask.any():
        raise MaskError("segmentation covers no pixel")
    return mask


def _rle_to_code(segmentation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    size, counts = [int(side) for side in segmentation["size"]], segmentation["counts"]
    if size != [height, width]:
        raise MaskError(f"RLE of size {size}, image of size {[height, width]}")
    runs = unpack_counts(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise MaskError(f"RLE counts sum to {sum(runs)}, image has {height * width} pixels")
    code: dict[str, Any] = coco_mask.frPyObjects({"size": size, "counts": runs}, height, width)
    return code


def unpack_counts(text: str) -> list[int]:
    """Run lengths from COCO's compressed counts.

    Five bits a character, low ones first, bit 5 says that more follow, the last one's bit 4 is the sign; from the third
    run on the difference to the run two before is stored. pycocotools reads the same but believes any length.

    Raises:
      MaskError: if the text ends inside a number or holds other characters.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise MaskError(f"segmentation cannot be read: character {character!r} in compressed counts")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise MaskError("segmentation cannot be read: compressed counts end inside a number")
    return runs


def _polygons_to_code(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    if segmentation and all(isinstance(value, int | float) for value in segmentation):
        segmentation = [segmentation]  # some tools write a single polygon without the outer list
    limit = MAX_COORDINATE_FACTOR * max(height, width)
    parts = [[float(value) for value in part] for part in segmentation]
    for part in parts:
        if not all(math.isfinite(value) and abs(value) <= limit for value in part):
            raise MaskError(f"polygon corner farther than {limit} pixels from the image's origin, or not a number")
    # Two corners have no area, and pycocotools would take four numbers for a box.
    solid = [part for part in parts if len(part) >= 6 and len(part) % 2 == 0]
    if not solid:
        raise MaskError("no polygon of three corners or more")
    code: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects(solid, height, width))
    return code
