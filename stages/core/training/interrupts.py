"""Signals during training: save at the next step boundary, then leave."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from stages.core.base.stopping import Stopped, note_signal


class Interrupts:
    """Remembers SIGTERM and Ctrl-C until training reaches a step boundary; a second Ctrl-C stops at once.

    Use as a context manager around training; the former handlers come back at the end.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._at_once = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        for signum in (signal.SIGTERM, signal.SIGINT):
            self._former[signum] = signal.signal(signum, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._former.items():
            signal.signal(signum, handler)

    def raise_if_received(self) -> None:
        """Raises Stopped if a signal has come. Called at step boundaries."""
        if self._received is not None:
            raise Stopped(self._received)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A stretch during which nothing is lost by stopping in the middle (everything is saved)."""
        self.raise_if_received()
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False
        # TensorFlow may have swallowed what the handler raised.
        self.raise_if_received()

    def _receive(self, signum: int, _frame: FrameType | None) -> None:
        note_signal(signum)
        impatient = signum == signal.SIGINT and self._received is not None
        self._received = signum
        if self._at_once or impatient:
            raise Stopped(signum)
