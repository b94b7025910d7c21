"""However a child ends, its parent learns why in one line."""

from pathlib import Path

import pytest

from stages.core.converting.child import run_child

STAND_IN = "tests.crashing_child"
ENDINGS = [
    ("fine", ""),
    ("segfault", "the runtime crashed (SIGSEGV) while trying"),
    ("abort", "the runtime crashed (SIGABRT) while trying: Check failed: x < y"),
    ("hang", "no result within 3 s while trying"),
    ("refuse", "boxes: not finite"),
    ("chatter", "boxes: not finite"),
    ("bug", "ZeroDivisionError: division by zero"),
    ("silent", "no reason told (exit status 7) while trying"),
]


@pytest.mark.parametrize(("ending", "reason"), ENDINGS, ids=[ending for ending, _ in ENDINGS])
def test_the_reason_is_one_line(ending: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "ending").write_text(ending)
    assert run_child(STAND_IN, str(tmp_path / "ending"), timeout_s=3, doing="trying") == reason


def test_what_is_shown_is_not_taken_for_the_reason(tmp_path: Path) -> None:
    (tmp_path / "ending").write_text("refuse")
    assert run_child(STAND_IN, str(tmp_path / "ending"), timeout_s=9, doing="trying", show=True) == "boxes: not finite"
