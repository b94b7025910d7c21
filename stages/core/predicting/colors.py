"""A colour for every class, and what is readable on it."""

import colorsys

Color = tuple[int, int, int]
"""Red, green, blue, 0..255."""

BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)
GOLDEN_SECTION = 0.618033988749895
LIGHTNESSES = (0.55, 0.42, 0.68)
SATURATION = 0.9


def class_color(category: int) -> Color:
    """The colour of a category id, the same in every picture of every model.

    Steps of the golden section around the circle of hues keep any number of classes apart, and neighbours most;
    lightness changes after each full circle.
    """
    turns = category * GOLDEN_SECTION
    lightness = LIGHTNESSES[int(turns) % len(LIGHTNESSES)]
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(turns % 1, lightness, SATURATION))
    return red, green, blue


def readable_on(color: Color) -> Color:
    """Black or white, whichever has more contrast: at least 4.5, what WCAG 2.1 asks of text."""
    return max((BLACK, WHITE), key=lambda ink: contrast(ink, color))


def contrast(one: Color, other: Color) -> float:
    """Contrast of two colours as WCAG 2.1 defines it, 1..21."""
    dark, light = sorted(map(_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: Color) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in color)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
