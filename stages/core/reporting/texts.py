"""Where the names of a picture's objects are written, so that they can be read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stages.core.reporting.shapes import Shape

LETTER_WIDTH = 0.66
"""Of a bold letter, as a share of the text's height."""
LINE_HEIGHT = 1.15
MAX_LINES = 5
"""So many lines below its first position a name is tried."""


@dataclass(frozen=True)
class TextPosition:
    """Baseline of a text in pixels of the image; `ends`: whether x is its right end instead of its left one."""

    x: float
    y: float
    ends: bool


def with_texts(
    shapes: Sequence[Shape], image_size: tuple[int, int], height: float
) -> tuple[tuple[Shape, TextPosition], ...]:
    """Each shape with the position of its name: above its box, or below that where another name is.

    Best detections choose first. Where all positions are taken, a name is written over others.

    Args:
      image_size: (height, width) of the image in pixels.
      height: Of the text, in pixels of the image.
    """
    taken: list[tuple[float, float, float, float]] = []
    placed = []
    for shape in shapes:
        tried = [(position, _area(position, shape.text, height)) for position in _positions(shape, image_size, height)]
        free = (entry for entry in tried if not any(overlap(entry[1], other) for other in taken))
        position, area = next(free, tried[0])
        taken.append(area)
        placed.append((shape, position))
    return tuple(placed)


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    """Whether two areas (left, top, right, bottom) have some part in common."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _positions(shape: Shape, image_size: tuple[int, int], height: float) -> Iterable[TextPosition]:
    """Above the box, then line by line below; it ends where the box does if it would not fit from the box's left."""
    rows, columns = image_size
    left = shape.box_xyxy[0] + height / 7
    ends = left + _width(shape.text, height) > columns
    x = min(shape.box_xyxy[2], float(columns)) if ends else left
    first = max(shape.box_xyxy[1] - height / 5, height * 0.95)
    for line in range(MAX_LINES + 1):
        y = first + line * height * LINE_HEIGHT
        if line == 0 or y < rows:
            yield TextPosition(x, y, ends)


def _area(position: TextPosition, text: str, height: float) -> tuple[float, float, float, float]:
    width = _width(text, height)
    left = position.x - width if position.ends else position.x
    return left, position.y - height * 0.8, left + width, position.y + height * 0.2


def _width(text: str, height: float) -> float:
    return len(text) * height * LETTER_WIDTH
