"""Detections drawn on a picture with Pillow: masks, boxes, names and scores."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from stages.core.base.errors import UsageError
from stages.core.masks.pasting import paste_mask
from stages.core.predicting.colors import BLACK, WHITE, Color, class_color, readable_on
from stages.core.processing.detections import Detections

SMALLEST_SIDE = 480
"""A picture whose longer side is shorter is drawn larger, by a whole factor: text would hide its objects otherwise."""
FILL = 0.4
"""Opacity of a mask."""
LINE_SHARE, TEXT_SHARE = 1 / 320, 1 / 42
"""Thickness of a box's line and height of its text, as shares of the picture's longer side."""
TITLE_BACKGROUND: Color = (24, 26, 30)

Rectangle = tuple[float, float, float, float]


def draw_detections(
    pixels: np.ndarray, detections: Detections, labels: Mapping[int, str], *, font_file: Path | None = None
) -> np.ndarray:
    """A picture with everything that was found on it; the best detection lies on top.

    Args:
      pixels: uint8 [height, width, 3], RGB.
      detections: Of this picture.
      labels: Category id to name.
      font_file: TrueType or OpenType font of the names; without one, Pillow's own, which knows Latin letters only.

    Returns:
      uint8 [height, width, 3], a whole multiple of the picture's size.
    """
    factor = max(1, ceil(SMALLEST_SIDE / max(pixels.shape[:2])))
    enlarged = Image.fromarray(pixels)
    if factor > 1:
        enlarged = enlarged.resize((enlarged.width * factor, enlarged.height * factor), Image.Resampling.BICUBIC)
    scaled = replace(
        detections, boxes_xyxy=detections.boxes_xyxy * factor, image_size=(enlarged.height, enlarged.width)
    )
    line = max(2, round(max(enlarged.size) * LINE_SHARE))
    canvas = np.array(enlarged)
    for index in reversed(range(len(scaled))):
        _fill_mask(canvas, scaled, index, line)
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    for index in reversed(range(len(scaled))):
        _outline(draw, scaled.boxes_xyxy[index], class_color(int(scaled.classes[index])), line)
    _write_labels(draw, picture.size, scaled, labels, line, font_file)
    return np.asarray(picture)


def place_side_by_side(panels: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Pictures of one size in a row, each with its title above it: uint8 [height, width, 3]."""
    height, width = panels[0][1].shape[:2]
    font = load_font(_text_height((width, height)), None)
    head = 2 * _text_height((width, height))
    whole = Image.new("RGB", (len(panels) * width, height + head), TITLE_BACKGROUND)
    draw = ImageDraw.Draw(whole)
    for position, (title, pixels) in enumerate(panels):
        whole.paste(Image.fromarray(pixels), (position * width, head))
        draw.text((position * width + head / 4, head / 2), title, fill=WHITE, font=font, anchor="lm")
    return np.asarray(whole)


def load_font(height: int, file: Path | None) -> Any:
    """A font of a height in pixels.

    Raises:
      UsageError: if the file is not a font.
    """
    if file is None:
        return ImageFont.load_default(height)
    try:
        return ImageFont.truetype(file, height)
    except OSError as error:
        raise UsageError(f"{file}: not a font that can be read ({error})") from None


def place_label(
    box: Rectangle, size: tuple[float, float], picture: tuple[int, int], taken: Sequence[Rectangle]
) -> Rectangle:
    """Where a label goes: above its box, in it, below it or at its lower edge, first where it covers no other label.

    Args:
      box, taken: [x_min, y_min, x_max, y_max], pixels; the labels that are there already.
      size: (width, height) of the label.
      picture: (width, height).

    Returns:
      The label's rectangle, inside the picture if it fits at all.
    """
    width, height = size
    left = max(0.0, min(box[0], picture[0] - width))
    tops = (box[1] - height, box[1], box[3], box[3] - height)
    candidates = [(left, top, left + width, top + height) for top in tops if 0 <= top <= picture[1] - height]
    if not candidates:
        candidates = [(left, 0.0, left + width, height)]
    return min(candidates, key=lambda candidate: sum(_overlap(candidate, other) for other in taken))


def _fill_mask(canvas: np.ndarray, detections: Detections, index: int, line: int) -> None:
    if detections.masks is None:
        return
    mask, top, left = paste_mask(detections.masks[index], detections.boxes_xyxy[index], detections.image_size)
    if not mask.any():
        return
    color = np.asarray(class_color(int(detections.classes[index])), np.float32)
    region = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
    region[mask] = np.rint((1 - FILL) * region[mask] + FILL * color).astype(np.uint8)
    # Outside of the region there is no mask: without a frame of zeros its border would not count as an edge.
    framed = Image.fromarray(np.pad(mask, line).astype(np.uint8) * 255)
    inner = np.asarray(framed.filter(ImageFilter.MinFilter(2 * (line // 2) + 1)))[line:-line, line:-line] > 0
    region[mask & ~inner] = color.astype(np.uint8)


def _outline(draw: ImageDraw.ImageDraw, box: np.ndarray, color: Color, line: int) -> None:
    """A rectangle with a thin rim on both sides, so that it shows on any background."""
    rim = max(1, line // 2)
    x_min, y_min, x_max, y_max = (float(value) for value in box)
    x_max, y_max = max(x_min, x_max - 1), max(y_min, y_max - 1)
    wide = (x_min - rim, y_min - rim, x_max + rim, y_max + rim)
    draw.rectangle(wide, outline=readable_on(color), width=line + 2 * rim)
    draw.rectangle((x_min, y_min, x_max, y_max), outline=color, width=line)


def _write_labels(
    draw: ImageDraw.ImageDraw,
    picture: tuple[int, int],
    detections: Detections,
    labels: Mapping[int, str],
    line: int,
    font_file: Path | None,
) -> None:
    """Names and scores on plates of the class's colour, with a rim against plates and pictures of the same colour."""
    text_height, pad = _text_height(picture), max(2, line)
    font = load_font(text_height, font_file)
    taken: list[Rectangle] = []
    for index in range(len(detections)):
        category = int(detections.classes[index])
        text = f"{labels.get(category, category)} {detections.scores[index]:.2f}"
        left, _, right, _ = draw.textbbox((0, 0), text, font=font, anchor="la")
        size = (right - left + 2 * pad, text_height + 2 * pad)
        x_min, y_min, x_max, y_max = (float(value) for value in detections.boxes_xyxy[index])
        plate = place_label((x_min, y_min, x_max, y_max), size, picture, taken)
        taken.append(plate)
        color = class_color(category)
        ink = readable_on(color)
        draw.rectangle(plate, fill=color, outline=BLACK if ink == BLACK else WHITE)
        draw.text((plate[0] + pad - left, (plate[1] + plate[3]) / 2), text, fill=ink, font=font, anchor="lm")


def _text_height(picture: tuple[int, int]) -> int:
    return max(12, round(max(picture) * TEXT_SHARE))


def _overlap(one: Rectangle, other: Rectangle) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)
