"""`prepare`: what is refused, in one line that says what to write instead."""

from typing import Any

import pytest

from stages.core.base.errors import ParamsError
from stages.core.params.tree import parse_params


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"keep_difficult": True}, "instead of keep_difficult: true write difficult: keep"),
        ({"keep_difficult": False}, "instead of keep_difficult: false write difficult: drop"),
        ({"difficult": "hard"}, "prepare.difficult: .*'ignore', 'keep' or 'drop' .found 'hard'"),
        ({"split": {"folds": 5, "fold": 5}}, "prepare.split: fold 5 of folds 5: expected 0 to 4"),
        ({"split": {"fold": 2}}, "prepare.split: fold 2 without folds"),
        ({"split": {"folds": 1}}, "prepare.split.folds: .*greater than or equal to 2"),
    ],
    ids=str,
)
def test_bad_values_are_refused_in_one_line(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ParamsError, match=says) as caught:
        parse_params({"models": ["retinanet_mobiledet_tiny"], "schemes": ["float32"], "prepare": section})
    assert "\n" not in str(caught.value)
