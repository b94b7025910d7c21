"""Decoding an image before it is trusted: what is plainly repairable is repaired, the rest refused with a reason.

What leaves here decodes to the same upright 8-bit RGB pixels in every decoder of the pipeline. A repaired image is
stored as PNG: lossless, so the stored pixels are the ones that were checked, and nothing is compressed twice.
"""

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

READABLE = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""Pillow formats that are tried (JPEG finds MPO by itself). No vector formats: those would start other programs."""
STORED = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png"}
"""Formats that are kept as they are when nothing is wrong with them; an MPO is a JPEG with more pictures behind it."""
SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".ppm", ".pgm", ".pnm"), "PPM"),
    ".png": "PNG",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".webp": "WEBP",
}
MODE_REPAIRS = {
    "RGB": None,
    "1": "greyscale",
    "L": "greyscale",
    "LA": "alpha",
    "RGBA": "alpha",
    "RGBX": "alpha",
    "P": "palette",
    "PA": "palette",
    "CMYK": "cmyk",
    "I;16": "sixteen_bit",
    "I;16B": "sixteen_bit",
    "I;16L": "sixteen_bit",
}
"""Pillow mode to the repair that makes RGB of it. Others (floats, 32 bits, LAB) have no agreed range.

Transparency is dropped, not blended: the stored colours are what TensorFlow, OpenCV and Pillow all give for RGB.
"""
TURNED = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""


class RefusedError(Exception):
    """An image or object that cannot be used: `reason` is a key of the report, `detail` a few words for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedImage:
    """A trusted image.

    Attributes:
      pixels: uint8 [height, width, 3], RGB.
      encoded: Bytes to store: the file's own, or a PNG of the pixels where they needed repair.
      format: Of `encoded`.
      repairs: What was repaired; empty for an image that is stored byte for byte.
      details: A few words on some of the repairs.
    """

    pixels: np.ndarray
    encoded: bytes
    format: Literal["jpeg", "png"]
    repairs: tuple[str, ...]
    details: Mapping[str, str] = field(default_factory=dict)


def decode_image(
    data: bytes,
    *,
    file: str,
    max_side: int,
    annotated_size: tuple[int, int] | None,
    has_objects: bool,
    exif: Literal["auto", "turn", "keep"] = "auto",
) -> DecodedImage:
    """Decodes and checks one image.

    Args:
      data: The file's bytes.
      file: Its name, for the suffix.
      max_side: A longer side is refused from the header, before any pixel is decoded.
      annotated_size: (height, width) that the annotation states, if it does.
      has_objects: Whether coordinates depend on how the image is turned.
      exif: Whether images are turned as their EXIF tag says: where the annotated size shows it, always, or never.

    Raises:
      RefusedError: with one of the reasons `unreadable`, `too_large`, `truncated`, `several_frames`,
        `unsupported_pixels`, `exif_ambiguous`, `size_mismatch`.
    """
    details: dict[str, str] = {}
    with damage_refused(), _open_image(data) as image:
        _check_header(image, max_side)
        _check_end(image, data)
        repairs = [] if SUFFIXES.get(PurePosixPath(file).suffix.lower()) == _kind(image) else ["wrong_extension"]
        if image.format not in STORED:
            repairs.append("format_converted")
        repairs += _pixel_repairs(image, data)
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        turn = orientation in range(2, 9) and exif != "keep"
        if turn and exif == "auto":
            turn = _must_turn(image, orientation, annotated_size, has_objects)
        if orientation in range(2, 9):
            repairs.append("exif_orientation")
            details["exif_orientation"] = f"orientation {orientation}, {'turned' if turn else 'left as stored'}"
        pixels = _load_pixels(image, turn=turn)
        kept = STORED.get(str(image.format))
    if annotated_size is not None and pixels.shape[:2] != annotated_size:
        swapped = " (width and height swapped)" if pixels.shape[1::-1] == annotated_size else ""
        raise RefusedError(
            "size_mismatch", f"file is {_by(pixels.shape)}, annotation says {_by(annotated_size)}{swapped}"
        )
    if set(repairs) <= {"wrong_extension"} and kept is not None:
        return DecodedImage(
            pixels=pixels, encoded=data, format="jpeg" if kept == "jpeg" else "png", repairs=tuple(repairs)
        )
    return DecodedImage(
        pixels=pixels, encoded=encode_png(pixels), format="png", repairs=tuple(repairs), details=details
    )


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG bytes of uint8 [height, width, 3] RGB pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def damage_refused() -> Iterator[None]:
    """Turns whatever Pillow's plug-ins raise on damaged files, which may be anything, into a refusal."""
    try:
        yield
    except RefusedError:
        raise
    except Image.DecompressionBombError as error:
        raise RefusedError("too_large", str(error)) from None
    except Exception as error:
        reason = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise RefusedError(reason, str(error)) from None


def _open_image(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow's own limit on pixels warns; ours, a side, is checked next.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=READABLE)
    except UnidentifiedImageError:
        raise RefusedError("unreadable", f"not an image in one of the formats {', '.join(READABLE)}") from None


def _check_header(image: Image.Image, max_side: int) -> None:
    if max(image.size) > max_side:
        raise RefusedError("too_large", f"{image.width}x{image.height}, prepare.max_side is {max_side}")
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise RefusedError("several_frames", "which frame is annotated cannot be known")
    if image.mode not in MODE_REPAIRS:
        raise RefusedError("unsupported_pixels", f"mode {image.mode} has no agreed range of values")


def _kind(image: Image.Image) -> str:
    return "JPEG" if image.format == "MPO" else str(image.format)


def _pixel_repairs(image: Image.Image, data: bytes) -> list[str]:
    repairs = {MODE_REPAIRS[image.mode]} - {None}
    if "transparency" in image.info:
        repairs.add("alpha")
    if image.format == "PNG" and data[24] == 16:  # bit depth in IHDR: Pillow shows 16-bit colour as plain RGB
        repairs.add("sixteen_bit")
    return sorted(str(repair) for repair in repairs)


def _must_turn(image: Image.Image, orientation: int, annotated_size: tuple[int, int] | None, has_objects: bool) -> bool:
    """Whether the annotation was made on the picture as its EXIF tag turns it.

    Annotation tools differ: some obey the tag, some do not. Height and width tell which, where the turn swaps them.
    """
    if not has_objects and annotated_size is None:
        return True
    stored = (image.height, image.width)
    if orientation in TURNED and annotated_size is not None and image.height != image.width:
        return annotated_size != stored
    if not has_objects:
        return True
    raise RefusedError(
        "exif_ambiguous",
        f"orientation {orientation}: the annotated size does not tell which way is up; prepare.exif (turn, keep) does",
    )


def _load_pixels(image: Image.Image, *, turn: bool) -> np.ndarray:
    image.load()
    if image.mode.startswith("I;16"):
        # Full range to full range: 65535 becomes 255.
        image = _with_exif(Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)), image)
    upright = ImageOps.exif_transpose(image) if turn else image
    return np.array(upright.convert("RGB"))


def _check_end(image: Image.Image, data: bytes) -> None:
    if not END_CHECKS.get(_kind(image), bool)(data):
        raise RefusedError("truncated", "no end-of-image marker")


def has_jpeg_end(data: bytes) -> bool:
    """Whether a JPEG's scan ends in the end-of-image marker; a thumbnail in the header has one of its own."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xDA:  # start of scan: from here on FF D9 can only be the marker
            return data.find(b"\xff\xd9", position) >= 0
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        position += 1 if marker == 0xFF else 2 + length
    return False


def has_png_end(data: bytes) -> bool:
    """Whether a PNG has its end chunk."""
    return b"IEND" in data


END_CHECKS = {"JPEG": has_jpeg_end, "PNG": has_png_end}
"""Pillow takes a file whose tail is missing or zeros when its decoder happens to be content; TensorFlow refuses it."""


def _with_exif(image: Image.Image, original: Image.Image) -> Image.Image:
    image.getexif().update(original.getexif())
    return image


def _by(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]}"
