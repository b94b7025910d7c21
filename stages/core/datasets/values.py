"""Values of annotation files as tools write them: numbers as text, flags as words, ids as floats.

What can only mean one thing is read; everything else is refused by name. Nothing changes its meaning silently: the text
"0" is no true flag. Callers add file and position.
"""

import re
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
WHOLE = re.compile(r"-?(0|[1-9]\d*)", re.ASCII)
FLAGS = {"0": False, "1": True, "false": False, "true": True, "no": False, "yes": True, "": False, "unspecified": False}
"""Texts of flags, in small letters; `Unspecified` is VOC's word for what nobody looked at."""
MAX_SHOWN = 40


class BadValueError(ValueError):
    """A value of another kind than its key has; the text names key, value and what is allowed."""


def to_number(value: Any, key: str) -> float | None:
    """A number, or a text that is one; None for null and for a number that no float can hold.

    Raises:
      BadValueError: for anything else.
    """
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        return float(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise unexpected(value, key, "a number")
    try:
        return float(value)
    except OverflowError:
        return None


def to_side(value: Any, key: str) -> int | None:
    """A side of an image in pixels; None for null, 0 and less, and infinity: the annotation does not say."""
    number = to_number(value, key)
    if number is None or not 0 < number < 1e9:
        return None
    if number != int(number):
        raise unexpected(value, key, "a whole number")
    return int(number)


def to_flag(value: Any, key: str) -> bool:
    """0 or 1, as number, text or boolean; null is 0.

    Raises:
      BadValueError: for anything else: a crowd is not trained on, so no value may become one by accident.
    """
    if isinstance(value, str) and value.strip().lower() in FLAGS:
        return FLAGS[value.strip().lower()]
    if value is None:
        return False
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise unexpected(value, key, "0 or 1")


def to_id(value: Any, key: str) -> int | str:
    """An id; one that is a whole number is an int, however it is written, so that 1, 1.0 and "1" are the same.

    Raises:
      BadValueError: for null, booleans, fractions and structures.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip() and len(value) < 100:
        return int(value) if WHOLE.fullmatch(value.strip()) else value
    if isinstance(value, bool) or not isinstance(value, int):
        raise unexpected(value, key, "an id: a whole number or a text")
    return value


def to_name(value: Any, key: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise unexpected(value, key, "a text")
    return value


def unexpected(value: Any, key: str, expected: str) -> BadValueError:
    """The error for a value: what it is, and what was expected."""
    shown = repr(value)
    shown = shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + "..."
    kind = "text" if isinstance(value, str) else "null" if value is None else type(value).__name__
    return BadValueError(f"{key} is {shown}: {kind}, expected {expected}")
