"""Images as programs send them, and what they get back."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from stages.core.predicting.inputs import UnreadableError
from stages.core.predicting.requests import detections_to_answer, read_request
from stages.core.processing.detections import Detections

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
GREY = PIXELS[..., :1].repeat(3, axis=2)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG")
    return buffer.getvalue()


def encoded() -> str:
    return base64.b64encode(png()).decode()


def written(folder: Path) -> Path:
    (folder / "a.png").write_bytes(png())
    return folder / "a.png"


FORMS: dict[str, Callable[[Path], Any]] = {
    "path": written,
    "path_as_text": lambda folder: str(written(folder)),
    "bytes": lambda folder: png(),
    "base64": lambda folder: encoded(),
    "base64_in_lines": lambda folder: "\n".join(encoded()[i : i + 60] for i in range(0, len(encoded()), 60)),
    "data_address": lambda folder: "data:image/png;base64," + encoded(),
    "array": lambda folder: PIXELS,
    "wide_integers": lambda folder: PIXELS.astype(np.int64),
    "lists": lambda folder: PIXELS.tolist(),
    "alpha": lambda folder: np.dstack([PIXELS, PIXELS[..., 0]]),
    "named": lambda folder: {"image": encoded()},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_one_image(form: str, tmp_path: Path) -> None:
    found = read_request(FORMS[form](tmp_path))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, PIXELS)


def test_grey_pixels() -> None:
    np.testing.assert_array_equal(read_request(PIXELS[..., 0]), GREY)


BAD: dict[str, tuple[Any, str]] = {
    "no_file": ("nowhere.jpg", r"'nowhere\.jpg' is neither a file nor base64"),
    "empty": ("", "neither a file nor base64"),
    "no_image": (base64.b64encode(b"junk junk").decode(), "unreadable: not an image"),
    "no_image_bytes": (b"junk", "unreadable: not an image"),
    "truncated": (png()[:50], "unreadable|truncated"),
    "floats": (PIXELS / 255, r"shape \(5, 7, 3\) and type float64; expected the path"),
    "too_large_numbers": (PIXELS.astype(np.int64) + 300, "type int64"),
    "a_batch": (PIXELS[None], r"shape \(1, 5, 7, 3\)"),
    "two_channels": (PIXELS[..., :2], r"shape \(5, 7, 2\)"),
    "ragged": ([[1, 2], [3]], "lists of different lengths"),
    "nothing": (None, "an image of type NoneType"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_images_are_named(case: str) -> None:
    image, says = BAD[case]
    with pytest.raises(UnreadableError, match=says) as caught:
        read_request(image)
    assert "\n" not in str(caught.value)


def test_answers_are_plain_and_masks_decode() -> None:
    detections = Detections(
        boxes_xyxy=np.asarray([[1, 0, 5, 4], [0, 0, 7, 5]], np.float32),
        scores=np.asarray([0.75, 0.5], np.float32),
        classes=np.asarray([2, 9], np.int32),
        masks=np.ones((2, 4, 4), np.float32),
        image_size=(5, 7),
    )
    answer = json.loads(json.dumps(detections_to_answer(detections, {2: "fig"})))
    assert answer["boxes"] == [[1, 0, 5, 4], [0, 0, 7, 5]]
    assert (answer["classes"], answer["class_ids"], answer["scores"]) == (["fig", "9"], [2, 9], [0.75, 0.5])
    mask = coco_mask.decode({**answer["masks"][0], "counts": answer["masks"][0]["counts"].encode()})
    assert mask.shape == (5, 7)
    assert mask.sum() == 16
    assert mask[0:4, 1:5].all()
    assert "masks" not in detections_to_answer(Detections(**{**vars(detections), "masks": None}), {})
