"""Every kind of dirt in image files: repaired to the right pixels, or refused for the right reason."""

import io
import struct
import zlib
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import pytest
from dataset_builder import encode, picture, with_orientation
from PIL import Image

from stages.core.datasets.decoding import DecodedImage, RefusedError, decode_image

PIXELS = picture(height=48, width=64)
IMAGE = Image.fromarray(PIXELS)
GREY = np.asarray(IMAGE.convert("L"))
PNG = encode(PIXELS, "PNG")
JPEG = encode(PIXELS)


def decode(
    data: bytes, file: str = "a.png", size: tuple[int, int] | None = None, has_objects: bool = True
) -> DecodedImage:
    return decode_image(data, file=file, max_side=4096, annotated_size=size, has_objects=has_objects)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IEND"


def damage(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]


@pytest.mark.parametrize(("data", "file"), [(PNG, "a.png"), (JPEG, "a.JPG"), (JPEG, "a.jpeg")])
def test_sound_image_is_stored_byte_for_byte(data: bytes, file: str) -> None:
    decoded = decode(data, file)
    assert decoded.repairs == ()
    assert decoded.encoded == data
    assert np.array_equal(decoded.pixels, np.asarray(Image.open(io.BytesIO(data))))


@dataclass(frozen=True)
class Repair:
    id: str
    data: bytes
    file: str
    repairs: tuple[str, ...]
    pixels: np.ndarray


REPAIRS = [
    Repair("greyscale", encode(IMAGE.convert("L"), "PNG"), "a.png", ("greyscale",), np.stack([GREY] * 3, -1)),
    Repair("rgba", encode(IMAGE.convert("RGBA"), "PNG"), "a.png", ("alpha",), PIXELS),
    Repair("grey_alpha", encode(IMAGE.convert("LA"), "PNG"), "a.png", ("alpha",), np.stack([GREY] * 3, -1)),
    Repair(
        "palette",
        encode(IMAGE.convert("P"), "PNG"),
        "a.png",
        ("palette",),
        np.asarray(IMAGE.convert("P").convert("RGB")),
    ),
    Repair(
        "palette_alpha",
        encode(IMAGE.convert("P"), "PNG", transparency=3),
        "a.png",
        ("alpha", "palette"),
        np.asarray(IMAGE.convert("P").convert("RGB")),
    ),
    Repair(
        "sixteen_bit",
        encode(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG"),
        "a.png",
        ("sixteen_bit",),
        np.stack([GREY] * 3, -1),
    ),
    Repair("bmp", encode(PIXELS, "BMP"), "a.bmp", ("format_converted",), PIXELS),
    Repair("webp", encode(PIXELS, "WEBP", lossless=True), "a.webp", ("format_converted",), PIXELS),
]


@pytest.mark.parametrize("case", REPAIRS, ids=attrgetter("id"))
def test_repaired_losslessly_to_8_bit_rgb(case: Repair) -> None:
    decoded = decode(case.data, case.file)
    assert decoded.repairs == case.repairs
    assert np.array_equal(decoded.pixels, case.pixels)
    assert decoded.format == "png"
    stored = Image.open(io.BytesIO(decoded.encoded))
    assert stored.mode == "RGB"
    assert np.array_equal(np.asarray(stored), case.pixels)


def test_sixteen_bit_colour_is_noticed_though_pillow_hides_it() -> None:
    import cv2

    wide = np.repeat(PIXELS[..., ::-1], 1, axis=0).astype(np.uint16) * 257
    decoded = decode(cv2.imencode(".png", wide)[1].tobytes())
    assert decoded.repairs == ("sixteen_bit",)
    assert np.array_equal(decoded.pixels, PIXELS)


def test_cmyk_becomes_rgb() -> None:
    decoded = decode(encode(IMAGE.convert("CMYK"), quality=95), "a.jpg")
    assert decoded.repairs == ("cmyk",)
    assert np.abs(decoded.pixels.astype(int) - PIXELS).mean() < 4


def test_content_is_trusted_over_the_suffix() -> None:
    decoded = decode(JPEG, "a.png")
    assert decoded.repairs == ("wrong_extension",)
    assert decoded.format == "jpeg"
    assert decoded.encoded == JPEG


@dataclass(frozen=True)
class Refusal:
    id: str
    data: bytes
    reason: str


REFUSALS = [
    Refusal("truncated_jpeg", JPEG[: len(JPEG) // 2], "truncated"),
    Refusal("jpeg_without_its_last_two_bytes", JPEG[:-2], "truncated"),
    Refusal("jpeg_with_a_tail_of_zeros", JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2), "truncated"),
    Refusal("truncated_png", PNG[: len(PNG) // 2], "truncated"),
    Refusal("png_without_end", PNG[:-12], "truncated"),
    Refusal("png_with_a_wrong_bit", damage(PNG, len(PNG) // 2), "unreadable"),
    Refusal("absurd_width", png_header(60000, 10), "too_large"),
    Refusal("bomb", png_header(60000, 60000), "too_large"),
    Refusal("web_page", b"<html>404</html>" * 20, "unreadable"),
    Refusal("vector_graphics", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unreadable"),
    Refusal("empty", b"", "unreadable"),
    Refusal("floats", encode(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), "unsupported_pixels"),
    Refusal(
        "animation",
        encode(IMAGE, "GIF", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])]),
        "several_frames",
    ),
]


@pytest.mark.parametrize("case", REFUSALS, ids=attrgetter("id"))
def test_refused_for_its_reason(case: Refusal) -> None:
    with pytest.raises(RefusedError) as refused:
        decode(case.data)
    assert refused.value.reason == case.reason


def test_too_large_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
    with pytest.raises(RefusedError, match=r"5000x10, prepare\.max_side is 4096"):
        decode(encode(np.zeros((10, 5000, 3), np.uint8), "PNG"))


def test_annotated_size_must_be_the_files() -> None:
    with pytest.raises(RefusedError, match="size_mismatch: file is 64x48, annotation says 640x480"):
        decode(JPEG, size=(480, 640))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_exif_is_obeyed_when_the_annotated_size_is_the_turned_one(orientation: int) -> None:
    from PIL import ImageOps

    data = with_orientation(PIXELS, orientation)
    decoded = decode(data, "a.jpg", size=(64, 48))
    assert decoded.repairs == ("exif_orientation",)
    assert np.array_equal(decoded.pixels, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))
    assert Image.open(io.BytesIO(decoded.encoded)).getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_exif_is_dropped_when_the_annotated_size_is_the_stored_one(orientation: int) -> None:
    data = with_orientation(PIXELS, orientation)
    decoded = decode(data, "a.jpg", size=(48, 64))
    assert decoded.repairs == ("exif_orientation",)
    assert np.array_equal(decoded.pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert Image.open(io.BytesIO(decoded.encoded)).getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(
    ("orientation", "size"),
    [
        pytest.param(6, None, id="no_annotated_size"),
        pytest.param(3, (48, 64), id="upside_down_has_the_same_size"),
        pytest.param(2, (48, 64), id="mirrored_has_the_same_size"),
    ],
)
def test_exif_that_cannot_be_decided_is_refused(orientation: int, size: tuple[int, int] | None) -> None:
    with pytest.raises(RefusedError, match="exif_ambiguous"):
        decode(with_orientation(PIXELS, orientation), "a.jpg", size)


def test_without_objects_exif_is_simply_obeyed() -> None:
    assert decode(with_orientation(PIXELS, 6), "a.jpg", has_objects=False).pixels.shape == (64, 48, 3)


def test_upright_tag_is_no_repair() -> None:
    assert decode(with_orientation(PIXELS, 1), "a.jpg").repairs == ()
