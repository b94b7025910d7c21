"""One `tf.train.Example` of the Object Detection API, field by field.

Keys: `data_decoders/tf_example_decoder.py` and `dataset_tools/create_{coco,pascal,oid}_tf_record.py` of the API.
TensorFlow, which brings the message classes, is imported when the first record is read: worker processes stay free of
it.
"""

import io
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from stages.core.base.errors import DataError
from stages.core.datasets.decoding import SUFFIXES, RefusedError, damage_refused
from stages.core.datasets.values import BadValueError, to_flag
from stages.core.masks.segmentations import Box, encode_mask

KINDS = {"float": "float_list", "int": "int64_list", "bytes": "bytes_list"}
BOX_KEYS = tuple(f"image/object/bbox/{side}" for side in ("xmin", "ymin", "xmax", "ymax"))
LABEL_KEY, TEXT_KEY = "image/object/class/label", "image/object/class/text"


class BadExampleError(ValueError):
    """A record that cannot be used; the others may be fine."""


@dataclass(frozen=True, kw_only=True)
class ExampleObject:
    """One object of a record.

    Attributes:
      label: `class/label`; None where the record has none, or 0, which is no class.
      text: `class/text`, without blanks around; empty where the record has none.
      fractions: [x_min, y_min, x_max, y_max] divided by the image's width and height.
      segmentation: PNG bytes or COCO's RLE, or None.
      is_crowd: With `group_of`: both mark a region that holds several.
    """

    label: int | None
    text: str
    fractions: Box
    segmentation: Any = None
    area: float | None = None
    is_crowd: bool = False
    is_difficult: bool = False
    is_truncated: bool = False


@dataclass(frozen=True, kw_only=True)
class ExampleImage:
    """One record.

    Attributes:
      encoded: The image file.
      name: A plain file name for it: of `image/filename`, else of `image/source_id`; empty where there is neither.
      size: (height, width) as the record states it, else as the image's header does.
    """

    encoded: bytes
    name: str
    size: tuple[int, int]
    objects: tuple[ExampleObject, ...]


class ExampleFields:
    """The features of a record by key, with their types checked."""

    def __init__(self, features: Any) -> None:
        self._features = features

    def values(self, key: str, kind: str) -> list[Any]:
        """The values under a key; none where it is absent.

        Args:
          kind: float (whole numbers will do), int or bytes.
        """
        if key not in self._features:
            return []
        found = self._features[key].WhichOneof("kind")
        if found is None:
            return []
        values = list(getattr(self._features[key], found).value)
        if found != KINDS[kind] and not (kind == "float" and found == KINDS["int"]) and values:
            raise BadExampleError(f"{key} is a {found}, expected a {KINDS[kind]}")
        return values

    def texts(self, key: str) -> list[str]:
        try:
            return [value.decode().strip() for value in self.values(key, "bytes")]
        except UnicodeDecodeError:
            raise BadExampleError(f"{key} is no UTF-8") from None

    def holds(self, key: str, kind: str) -> bool:
        return key in self._features and self._features[key].WhichOneof("kind") == KINDS[kind]

    def per_object(self, key: str, kind: str, num: int) -> list[Any]:
        """One value for each object; None for each where the key is absent."""
        values = self.texts(key) if kind == "text" else self.values(key, kind)
        if len(values) not in (0, num):
            raise BadExampleError(f"{key} has {len(values)} values, {BOX_KEYS[0]} {num}")
        return values or [None] * num


def parse_example(data: bytes) -> ExampleImage:
    """Reads one record.

    Raises:
      BadExampleError: if it is no example, lacks the image, or a field has another type or length than it should.
      DataError: for a SequenceExample, which is another format throughout.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        example = tf.train.Example.FromString(data)
    except DecodeError:
        raise BadExampleError("no tf.train.Example") from None
    fields = ExampleFields(example.features.feature)
    encoded = fields.values("image/encoded", "bytes")
    if not encoded:
        if _is_sequence(data):
            raise DataError("a tf.train.SequenceExample (video, context features), expected tf.train.Example")
        known = ", ".join(sorted(example.features.feature)[:6]) or "none"
        raise BadExampleError(f"no image/encoded (keys: {known})")
    size, name = _size(fields, encoded[0]), _file_name(fields, encoded[0])
    return ExampleImage(encoded=encoded[0], name=name, size=size, objects=tuple(_objects(fields, size)))


def _is_sequence(data: bytes) -> bool:
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        return bool(tf.train.SequenceExample.FromString(data).feature_lists.feature_list)
    except DecodeError:
        return False


def _size(fields: ExampleFields, encoded: bytes) -> tuple[int, int]:
    stated = [fields.values(f"image/{side}", "int") for side in ("height", "width")]
    if all(len(side) == 1 and side[0] > 0 for side in stated):
        return int(stated[0][0]), int(stated[1][0])
    try:
        with damage_refused(), Image.open(io.BytesIO(encoded)) as image:
            return image.height, image.width
    except RefusedError as refused:
        raise BadExampleError(f"image/encoded: {refused}") from None


def _file_name(fields: ExampleFields, encoded: bytes) -> str:
    """A name whose suffix is that of an image; the API's records often hold none."""
    named = next((text for key in ("image/filename", "image/source_id") for text in fields.texts(key) if text), "")
    name = re.sub(r"[^\w.() -]", "_", PurePosixPath(named.replace("\\", "/")).name)[-100:]
    if not name or Path(name).suffix.lower() in SUFFIXES:
        return name
    stated = "".join(fields.texts("image/format")[:1]).lower().lstrip(".")
    if f".{stated}" in SUFFIXES:
        return f"{name}.{stated}"
    return name + (".png" if encoded.startswith(b"\x89PNG") else ".jpg")


def _objects(fields: ExampleFields, size: tuple[int, int]) -> list[ExampleObject]:
    sides = [fields.values(key, "float") for key in BOX_KEYS]
    num = len(sides[0])
    if {len(side) for side in sides} != {num}:
        counts = ", ".join(f"{key.rsplit('/', 1)[1]} {len(side)}" for key, side in zip(BOX_KEYS, sides, strict=True))
        raise BadExampleError(f"image/object/bbox: {counts}: expected as many of each")
    columns = {
        name: fields.per_object(f"image/object/{name}", kind, num)
        for name, kind in {
            "class/label": "int",
            "class/text": "text",
            "area": "float",
        }.items()
    }
    flags = {name: _flags(fields, name, num) for name in ("is_crowd", "group_of", "difficult", "truncated")}
    masks = _masks(fields, num, size)
    return [
        ExampleObject(
            label=columns["class/label"][index] or None,
            text=columns["class/text"][index] or "",
            fractions=(sides[0][index], sides[1][index], sides[2][index], sides[3][index]),
            segmentation=masks[index],
            area=columns["area"][index],
            is_crowd=flags["is_crowd"][index] or flags["group_of"][index],
            is_difficult=flags["difficult"][index],
            is_truncated=flags["truncated"][index],
        )
        for index in range(num)
    ]


def _flags(fields: ExampleFields, name: str, num: int) -> list[bool]:
    key = f"image/object/{name}"
    try:
        return [to_flag(value, key) for value in fields.per_object(key, "int", num)]
    except BadValueError as error:
        raise BadExampleError(str(error)) from None


def _masks(fields: ExampleFields, num: int, size: tuple[int, int]) -> list[Any]:
    """PNG bytes as they are, or RLE of the API's numerical masks (floats, all objects' pixels in a row)."""
    key = "image/object/mask"
    if not fields.holds(key, "float"):
        return fields.per_object(key, "bytes", num)
    pixels = np.asarray(fields.values(key, "float"), np.float32)
    if len(pixels) != num * size[0] * size[1]:
        raise BadExampleError(f"{key} has {len(pixels)} values, expected {num} masks of {size[1]}x{size[0]}")
    return [encode_mask(mask > 0).to_coco() for mask in pixels.reshape(num, *size)] if num else []
