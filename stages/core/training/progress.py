"""What a person sees of a training: a bar on a terminal, a line now and then elsewhere."""

import time
from typing import IO, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_INTERVAL_S = 10.0


class TrainingView(Protocol):
    """Shows how far a training is."""

    def advance(self, step: int, total: int, *, loss: float, learning_rate: float, steps_per_second: float) -> None:
        """Training has reached `step` of `total`."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""

    def close(self) -> None:
        """No more to come."""


class BarView:
    """A progress bar with loss, learning rate, steps per second and time left."""

    def __init__(self, terminal: IO[str], *, name: str, total: int, done: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(file=terminal, force_terminal=True),
            redirect_stdout=False,
            redirect_stderr=False,
            speed_estimate_period=120,
        )
        self._task = self._progress.add_task(name, total=total, completed=done, state="starting")
        self._progress.start()

    def advance(self, step: int, total: int, *, loss: float, learning_rate: float, steps_per_second: float) -> None:
        state = f"loss {loss:.3f}  lr {learning_rate:.2g}  {steps_per_second:.1f} steps/s"
        self._progress.update(self._task, completed=step, total=total, state=state)

    def note(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        self._progress.stop()


class LineView:
    """The same as plain lines, at most one every ten seconds: for logs and pipes."""

    def __init__(self, terminal: IO[str], *, name: str) -> None:
        self._terminal, self._name = terminal, name
        self._first: tuple[int, float] | None = None
        self._last_line = 0.0

    def advance(self, step: int, total: int, *, loss: float, learning_rate: float, steps_per_second: float) -> None:
        now = time.monotonic()
        # The steps before the first call waited for the graph to be traced: their time says nothing of what is left.
        first_step, first_time = self._first = self._first or (step, now)
        if now - self._last_line < LINE_INTERVAL_S and step < total:
            return
        self._last_line = now
        left = ""
        if step > first_step:
            left = f", {format_seconds((total - step) * (now - first_time) / (step - first_step))} left"
        self.note(
            f"{self._name}: step {step}/{total}, loss {loss:.3f}, lr {learning_rate:.2g}, "
            f"{steps_per_second:.1f} steps/s{left}"
        )

    def note(self, text: str) -> None:
        print(text, file=self._terminal, flush=True)

    def close(self) -> None:
        pass


def open_view(terminal: IO[str], *, name: str, total: int, done: int) -> TrainingView:
    """The view that suits the stream."""
    if terminal.isatty():
        return BarView(terminal, name=name, total=total, done=done)
    return LineView(terminal, name=name)


def format_seconds(seconds: float) -> str:
    """Seconds as `1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
