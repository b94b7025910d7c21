"""Values as tools write them: what has one meaning is read, everything else is refused by name."""

from typing import Any

import pytest

from stages.core.datasets.values import BadValueError, to_flag, to_id, to_name, to_number, to_side


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3.0), (2.5, 2.5), ("3", 3.0), (" -2.5 ", -2.5), ("1e2", 100.0), (".5", 0.5), (None, None), (10**400, None)],
)
def test_numbers(value: Any, number: float | None) -> None:
    assert to_number(value, "area") == number


@pytest.mark.parametrize("value", ["", "nan", "inf", "1,5", "0x10", "1 2", "١", True, [1], {}, "12px"])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(BadValueError, match=r"^area is .*: \w+, expected a number$"):
        to_number(value, "area")


def test_long_texts_are_cut() -> None:
    with pytest.raises(BadValueError) as error:
        to_number("x" * 10000, "area")
    assert len(str(error.value)) < 100


@pytest.mark.parametrize(
    ("value", "side"), [(96, 96), ("96", 96), (96.0, 96), (0, None), (-1, None), (None, None), ("1e400", None)]
)
def test_sides(value: Any, side: int | None) -> None:
    assert to_side(value, "width") == side


@pytest.mark.parametrize(
    ("value", "flag"),
    [
        (0, False),
        (1, True),
        ("0", False),
        ("1", True),
        (0.0, False),
        (1.0, True),
        (True, True),
        (None, False),
        ("false", False),
        ("False", False),
        ("TRUE", True),
        (" 1 ", True),
        ("Unspecified", False),
        ("", False),
    ],
)
def test_flags(value: Any, flag: bool) -> None:
    assert to_flag(value, "iscrowd") is flag


@pytest.mark.parametrize("value", [2, -1, 0.5, "2", "crowd", "x", [], [0], {}])
def test_what_is_no_flag(value: Any) -> None:
    with pytest.raises(BadValueError, match=r"^iscrowd is .*: .*, expected 0 or 1$"):
        to_flag(value, "iscrowd")


@pytest.mark.parametrize(
    ("value", "key"), [(7, 7), (7.0, 7), ("7", 7), ("-7", -7), ("0", 0), ("007", "007"), ("a7", "a7"), (" 7", 7)]
)
def test_ids(value: Any, key: int | str) -> None:
    assert to_id(value, "id") == key


@pytest.mark.parametrize("value", [None, True, 1.5, float("nan"), float("inf"), [], {}, "", " ", "9" * 5000])
def test_what_is_no_id(value: Any) -> None:
    with pytest.raises(BadValueError, match="expected an id"):
        to_id(value, "id")


@pytest.mark.parametrize("value", [None, 7, "", "  ", ["a"]])
def test_what_is_no_name(value: Any) -> None:
    with pytest.raises(BadValueError, match="expected a text"):
        to_name(value, "name")
