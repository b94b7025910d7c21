"""Masks between the forms they come in: COCO polygons and run-length codes, arrays, PNG bytes."""

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

Box = tuple[float, float, float, float]
"""[x_min, y_min, x_max, y_max] in pixels; the maxima are exclusive."""

MAX_COORDINATE_FACTOR = 4
"""Polygon corners farther out than so many image sides are refused: the rasteriser's memory grows with edge length."""


@dataclass(frozen=True, kw_only=True)
class Rle:
    """A binary mask as COCO's compressed run-length code.

    Attributes:
      height, width: Of the whole image, in pixels.
      counts: Compressed counts, column by column, as ASCII.
    """

    height: int
    width: int
    counts: str

    def to_coco(self) -> dict[str, Any]:
        """The `segmentation` entry of a COCO annotation."""
        return {"size": [self.height, self.width], "counts": self.counts}


class MaskError(ValueError):
    """A segmentation that cannot be turned into a mask; the text says why."""


def encode_mask(mask: np.ndarray) -> Rle:
    """A bool or 0/1 array [height, width] as compressed run-length code."""
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return Rle(height=mask.shape[0], width=mask.shape[1], counts=code["counts"].decode("ascii"))


def to_code(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Compressed run-length code, as pycocotools and faster-coco-eval take it, of a sound segmentation.

    Args:
      segmentation: COCO's polygons, or a run-length code with counts as a list, as text or as bytes.
      height, width: Of the image.
    """
    if isinstance(segmentation, dict) and not isinstance(segmentation["counts"], list):
        counts = segmentation["counts"]
        return segmentation if isinstance(counts, bytes) else {**segmentation, "counts": counts.encode("ascii")}
    encoded = coco_mask.frPyObjects(segmentation, height, width)
    code: dict[str, Any] = coco_mask.merge(encoded) if isinstance(encoded, list) else encoded
    return code


def decode_segmentation(segmentation: Any, height: int, width: int) -> np.ndarray:
    """A sound segmentation as a bool array [height, width]; `segmentation_to_mask` is for those of unknown origin."""
    return np.asarray(coco_mask.decode(to_code(segmentation, height, width)), np.bool_)


def decode_mask(rle: Rle) -> np.ndarray:
    """The mask as a bool array [height, width]."""
    return decode_segmentation(rle.to_coco(), rle.height, rle.width)


def mask_to_png(mask: np.ndarray) -> bytes:
    """PNG bytes of a mask with pixel values 0 and 1, as the Object Detection API's records hold it."""
    import cv2  # 150 MB that only data preparation needs

    done, data = cv2.imencode(".png", mask.astype(np.uint8))
    if not done:
        raise MaskError(f"mask of shape {mask.shape} cannot be written as PNG")
    return bytes(data)


def mask_to_box(mask: np.ndarray) -> Box:
    """The tightest box around a mask that is not empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def is_mask(segmentation: Any) -> bool:
    """Whether a segmentation is more than the placeholder that tools write for objects without one.

    Placeholders: nothing, lists without numbers, polygons of less than three corners (a box's two among them) or of one
    repeated corner, run-length codes without runs. What is left may still be malformed: `segmentation_to_mask` says so.
    """
    if isinstance(segmentation, dict):
        return bool(segmentation.get("counts"))
    if not isinstance(segmentation, list):
        return bool(segmentation)
    parts = [segmentation] if segmentation and not isinstance(segmentation[0], list) else segmentation
    return any(not isinstance(part, list) or _has_corners(part) for part in parts)


def _has_corners(part: list[Any]) -> bool:
    return len(part) >= 6 and len({str(pair) for pair in zip(part[0::2], part[1::2], strict=False)}) > 1


def segmentation_to_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """A segmentation of unknown origin as a bool array [height, width].

    Args:
      segmentation: COCO's polygons, its RLE with counts as text or as a list, or the bytes of a PNG in which 0 is not
        the object.
      height, width: Of the image.

    Raises:
      MaskError: if it is malformed, of another size than the image, or covers no pixel.
    """
    try:
        if isinstance(segmentation, bytes):
            mask = _png_to_mask(segmentation, height, width)
        else:
            check = _check_rle if isinstance(segmentation, dict) else _check_polygons
            mask = decode_segmentation(check(segmentation, height, width), height, width)
    except MaskError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        raise MaskError(f"segmentation cannot be read: {error}") from None
    if not mask.any():
        raise MaskError("segmentation covers no pixel")
    return mask


def _png_to_mask(data: bytes, height: int, width: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if (image.height, image.width) != (height, width):
                raise MaskError(f"PNG of size {[image.height, image.width]}, image of size {[height, width]}")
            pixels = np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise MaskError(f"mask cannot be read as PNG: {error}") from None
    mask: np.ndarray = (pixels[..., 0] if pixels.ndim == 3 else pixels) > 0
    return mask


def _check_rle(segmentation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """The code with its counts as a list, if it is one of an image of this size."""
    size, counts = [int(side) for side in segmentation["size"]], segmentation["counts"]
    if size != [height, width]:
        raise MaskError(f"RLE of size {size}, image of size {[height, width]}")
    runs = unpack_counts(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise MaskError(f"RLE counts sum to {sum(runs)}, image has {height * width} pixels")
    return {"size": size, "counts": runs}


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


def _check_polygons(segmentation: Any, height: int, width: int) -> list[list[float]]:
    """The polygons with an area, if all corners are near the image."""
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
    return solid
