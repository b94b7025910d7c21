"""Labelled pictures with defaults, written the way COCO and VOC tools write them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.core.params.steps import PrepareParams

SQUARE = (10.0, 20.0, 40.0, 50.0)
"""[x_min, y_min, x_max, y_max] of the one object that a picture has unless told otherwise."""


def picture(seed: int = 0, height: int = 64, width: int = 96) -> np.ndarray:
    """Smooth colours that differ by seed: uint8 [height, width, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encode(pixels: np.ndarray | Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """Bytes of an image file."""
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_orientation(pixels: np.ndarray, orientation: int) -> bytes:
    """A JPEG whose EXIF tag says how to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(pixels, exif=exif, quality=95)


def polygon(box: tuple[float, float, float, float] = SQUARE) -> list[list[float]]:
    """The box as COCO's polygon."""
    x_min, y_min, x_max, y_max = box
    return [[x_min, y_min, x_max, y_min, x_max, y_max, x_min, y_max]]


def coco_annotation(**changes: Any) -> dict[str, Any]:
    """One annotation of image 0; a key given as None is left out."""
    x_min, y_min, x_max, y_max = SQUARE
    annotation = {
        "id": 0,
        "image_id": 0,
        "category_id": 0,
        "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
        "segmentation": polygon(),
        "area": 900.0,
        "iscrowd": 0,
    }
    return {key: value for key, value in (annotation | changes).items() if value is not None}


def coco_tree(num_images: int = 6, **changes: Any) -> dict[str, Any]:
    """A tree without `info` and `licenses`, ids from 0, one object an image, two classes in turn."""
    tree: dict[str, Any] = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 64, "width": 96} for i in range(num_images)],
        "annotations": [coco_annotation(id=i, image_id=i, category_id=i % 2) for i in range(num_images)],
        "categories": [{"id": 0, "name": "nut"}, {"id": 1, "name": "fig"}],
    }
    return tree | changes


def write_coco(folder: Path, tree: dict[str, Any] | None = None, images: dict[str, bytes] | None = None) -> Path:
    """Writes annotations.json and images/; a listed image that `images` does not give is a plain picture."""
    tree = coco_tree() if tree is None else tree
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "annotations.json").write_text(json.dumps(tree))
    given = images or {}
    names = [entry["file_name"] for entry in tree["images"] if "file_name" in entry]
    for number, name in enumerate(names):
        (folder / "images" / name).write_bytes(given.get(name, encode(picture(number))))
    return folder


def voc_object(name: str = "nut", box: tuple[Any, ...] = SQUARE, **flags: Any) -> str:
    """One <object>."""
    corners = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    others = "".join(f"<{key}>{value}</{key}>" for key, value in flags.items())
    return f"<object><name>{name}</name>{others}<bndbox>{corners}</bndbox></object>"


def voc_xml(file: str, *objects: str, height: int = 64, width: int = 96) -> str:
    """One annotation file."""
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{file}</filename>{size}{''.join(objects)}</annotation>"


def write_voc(folder: Path, num_images: int = 6, lists: dict[str, list[str]] | None = None) -> Path:
    """Writes Annotations/, JPEGImages/ and, if given, ImageSets/Main/; two classes in turn."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(num_images):
        (folder / "JPEGImages" / f"{number}.jpg").write_bytes(encode(picture(number)))
        xml = voc_xml(f"{number}.jpg", voc_object(("nut", "fig")[number % 2]))
        (folder / "Annotations" / f"{number}.xml").write_text(xml)
    for split, stems in (lists or {}).items():
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    return folder


def prepare_params(source: str = "coco", **changes: Any) -> PrepareParams:
    """Parameters for a few small images."""
    return PrepareParams.model_validate({"source": source, "num_shards": 2, "calibration_images": 4, **changes})
