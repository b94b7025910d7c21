"""What a log shows of a training: few lines, and a time left that tracing the graph does not distort."""

import io

import pytest

from stages.core.training import progress
from stages.core.training.progress import LineView


def test_the_time_left_counts_from_the_first_steps_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 110.0, 112.0, 130.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    terminal = io.StringIO()
    view = LineView(terminal, name="m")
    for step in (5, 15, 17, 35):
        view.advance(step, 95, loss=1.0, learning_rate=0.1, steps_per_second=1.0)
    first, second, last = terminal.getvalue().splitlines()  # two seconds after a line there is none
    assert first == "m: step 5/95, loss 1.000, lr 0.1, 1.0 steps/s"
    assert second.endswith("1.0 steps/s, 1:20 left")
    assert last.endswith("1:00 left")


def test_the_last_step_is_always_shown() -> None:
    terminal = io.StringIO()
    view = LineView(terminal, name="m")
    for step in (5, 9, 10):
        view.advance(step, 10, loss=1.0, learning_rate=0.1, steps_per_second=1.0)
    assert [line.split(",")[0] for line in terminal.getvalue().splitlines()] == ["m: step 5/10", "m: step 10/10"]
