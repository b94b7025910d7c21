"""Signals during training: save at the next step boundary, then leave; and never outlive the parent process."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


class Interrupted(Exception):  # noqa: N818 (nothing went wrong)
    """Training was told to stop. `status` is the process's exit status: 128 + signal number."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.status = 128 + signum


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
        """Raises Interrupted if a signal has come. Called at step boundaries."""
        if self._received is not None:
            raise Interrupted(self._received)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A stretch during which nothing is lost by stopping in the middle (everything is saved)."""
        self.raise_if_received()
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _receive(self, signum: int, _frame: FrameType | None) -> None:
        impatient = signum == signal.SIGINT and self._received is not None
        if self._at_once or impatient:
            raise Interrupted(signum)
        self._received = signum


def die_with_parent() -> None:
    """Has the kernel send SIGTERM to this process when its parent ends (Linux; elsewhere nothing happens).

    DVC does not pass SIGTERM on, and a parent that is killed cannot: without this, training would go on unseen.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended between the two calls
        os.kill(os.getpid(), signal.SIGTERM)
