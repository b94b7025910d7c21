"""Outlines of objects as annotation tools draw them: polygons, rectangles, circles, ellipses."""

import math
from collections.abc import Sequence

from stages.core.masks.segmentations import Box

CORNERS = 72
"""Of the polygon that stands for a circle or ellipse: its area is 0.13 % below theirs."""


def ellipse_outline(
    center_x: float, center_y: float, radius_x: float, radius_y: float, angle: float = 0.0
) -> list[float]:
    """An ellipse as a polygon [x, y, x, y, ...].

    Args:
      angle: By which the first radius is turned from the x axis, in radians, clockwise on the screen.
    """
    outline = []
    for step in range(CORNERS):
        turn = 2 * math.pi * step / CORNERS
        along, across = radius_x * math.cos(turn), radius_y * math.sin(turn)
        outline.append(center_x + along * math.cos(angle) - across * math.sin(angle))
        outline.append(center_y + along * math.sin(angle) + across * math.cos(angle))
    return outline


def outline_to_box(parts: Sequence[Sequence[float]]) -> Box | None:
    """The box around polygons [x, y, x, y, ...]; None where there is no corner."""
    x = [value for part in parts for value in part[0::2]]
    y = [value for part in parts for value in part[1::2]]
    return (min(x), min(y), max(x), max(y)) if x and y else None


def scale_outline(parts: Sequence[Sequence[float]], width: float, height: float) -> list[list[float]]:
    """Polygons with x times `width` and y times `height`."""
    return [[value * (height if index % 2 else width) for index, value in enumerate(part)] for part in parts]
