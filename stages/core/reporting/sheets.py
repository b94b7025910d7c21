"""Contact sheets: the report's pictures as image files, for trackers and for report.md's readers."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stages.core.datasets.prepared import load_image
from stages.core.reporting.pictures import Panel, Picture

PANEL_WIDTH = 320
CAPTION_HEIGHT = 22
COLUMNS = 4
COLORS = ((255, 176, 0), (64, 160, 255), (240, 88, 160), (72, 200, 120), (176, 128, 255), (255, 112, 64))
"""RGB by category, repeated; the page's --k0..--k5."""


def write_sheets(pictures: Sequence[Picture], folder: Path) -> None:
    """One JPEG per model and image: `<folder>/<model>/<image id>.jpg`."""
    for picture in pictures:
        path = folder / picture.model / f"{picture.image.image_id:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_sheet(picture).save(path, "JPEG", quality=88)


def draw_sheet(picture: Picture) -> Image.Image:
    """All panels of a picture in rows of four, each under its title."""
    pixels = load_image(picture.image.path)
    panels = [draw_panel(pixels, panel) for panel in picture.panels]
    height = panels[0].height + CAPTION_HEIGHT
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (columns * PANEL_WIDTH, rows * height), (24, 26, 30))
    pen = ImageDraw.Draw(sheet)
    for index, (panel, drawn) in enumerate(zip(picture.panels, panels, strict=True)):
        left, top = index % columns * PANEL_WIDTH, index // columns * height
        pen.text((left + 6, top + 3), panel.title, fill=(235, 235, 235), font=_font(14))
        sheet.paste(drawn, (left, top + CAPTION_HEIGHT))
    return sheet


def draw_panel(pixels: np.ndarray, panel: Panel) -> Image.Image:
    """One picture with its objects: masks see-through, boxes, names and scores.

    Args:
      pixels: uint8 [height, width, 3], RGB, of the original size.
    """
    scale = PANEL_WIDTH / pixels.shape[1]
    size = (PANEL_WIDTH, max(1, round(pixels.shape[0] * scale)))
    canvas = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if panel.shapes is None:
        return _absent(canvas, panel.remark)
    for shape in panel.shapes:
        color = COLORS[(shape.category - 1) % len(COLORS)]
        outlines = [np.rint(np.asarray(outline) * scale).astype(np.int32) for outline in shape.outlines]
        if outlines:
            filled = canvas.copy()
            cv2.fillPoly(filled, outlines, color)
            canvas = cv2.addWeighted(filled, 0.45, canvas, 0.55, 0)
            cv2.polylines(canvas, outlines, True, color, 1, cv2.LINE_AA)
    drawn = Image.fromarray(canvas)
    pen, font = ImageDraw.Draw(drawn), _font(11)
    for shape in reversed(panel.shapes):
        color = COLORS[(shape.category - 1) % len(COLORS)]
        box = [value * scale for value in shape.box_xyxy]
        pen.rectangle(box, outline=color, width=2)
        left, top, right, bottom = pen.textbbox((box[0] + 2, max(0.0, box[1] - 13)), shape.text, font=font)
        pen.rectangle((left - 2, top - 1, right + 2, bottom + 1), fill=color)
        pen.text((box[0] + 2, max(0.0, box[1] - 13)), shape.text, fill=(10, 10, 10), font=font)
    return drawn


def _absent(canvas: np.ndarray, remark: str) -> Image.Image:
    dark = Image.fromarray((canvas // 4).astype(np.uint8))
    text = textwrap.fill(remark, 44, max_lines=4)
    ImageDraw.Draw(dark).multiline_text((10, 10), text, fill=(235, 235, 235), font=_font(12))
    return dark


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
