"""SIGTERM and Ctrl-C at any moment: one line, and 128 plus the signal's number as exit status.

The handler raises `Stopped`, so that contexts are left as after any error: child processes end, half-written folders go
away. Native code may turn that into an error of its own, or swallow it (TensorFlow does both). So the signal is also
remembered, whatever comes out of the work afterwards counts as the stop, and a process that has not ended `GRACE_S`
after the signal is ended. While a command is still importing, and once its work is done, there is nothing to leave: the
process ends at once.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
GRACE_S = 5.0
PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


class Stopped(BaseException):
    """The process was told to stop; no `except Exception` may take it for a fault.

    Attributes:
      status: The process's exit status: 128 + signal number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(describe_stop(signum))
        self.status = 128 + signum


class _Received:
    """The first signal of this process; None until one has come."""

    signum: int | None = None


def describe_stop(signum: int) -> str:
    """E.g. `stopped by SIGTERM`."""
    return f"stopped by {signal.Signals(signum).name}"


def received_stop() -> Stopped | None:
    """What told this process to stop, None where nothing has."""
    return None if _Received.signum is None else Stopped(_Received.signum)


def note_signal(signum: int) -> None:
    """Remembers a signal, and keeps what Python says of exceptions that cannot go anywhere off the terminal."""
    if _Received.signum is None:
        _Received.signum = signum
        sys.unraisablehook = lambda _: None
        threading.excepthook = lambda _: None


def name_command(stage: str, arguments: Sequence[str]) -> str:
    """What a command is called in the line on its stop, e.g. `train maskrcnn_mobiledet`.

    Args:
      stage: Its module or file, e.g. `stages.train` or `stages/train.py`.
      arguments: Its command line.
    """
    named = (value for name, value in pairwise(arguments) if name in ("--model", "--scheme", "--variant"))
    return " ".join([Path(stage.removesuffix(".py")).name.rpartition(".")[2], *named])


def end_on_signals(name: str) -> None:
    """From now on SIGTERM and Ctrl-C end this process at once, with one line and 128 plus the signal's number.

    Args:
      name: Of what is stopped.
    """
    lines: dict[int, bytes] = {signum: f"{name}: {describe_stop(signum)}\n".encode() for signum in SIGNALS}

    # Bound here: when the interpreter shuts down, a module's names go away before its functions do.
    def end(signum: int, _frame: FrameType | None, write: Any = os.write, leave: Any = os._exit) -> None:
        write(2, lines[signum])
        leave(128 + signum)

    for signum in SIGNALS:
        signal.signal(signum, end)


@contextmanager
def stop_on_signals(name: str) -> Iterator[None]:
    """Raises `Stopped` within the block on SIGTERM or Ctrl-C; also SIGTERM when the parent process ends.

    Args:
      name: Of what is stopped, for the line of a process that has to be ended.
    """
    terminal, _Received.signum = os.dup(2), None

    def end() -> None:
        os.write(terminal, f"{name}: {describe_stop(_Received.signum or signal.SIGTERM)}\n".encode())
        os._exit(128 + (_Received.signum or signal.SIGTERM))

    def receive(signum: int, _frame: FrameType | None) -> None:
        first = _Received.signum is None
        note_signal(signum)
        if first:
            last_resort = threading.Timer(GRACE_S, end)
            last_resort.daemon = True
            last_resort.start()
            raise Stopped(signum)

    former = {signum: signal.signal(signum, receive) for signum in SIGNALS}
    hooks = sys.unraisablehook, threading.excepthook
    die_with_parent()
    try:
        yield
    finally:
        if _Received.signum is None:
            for signum, handler in former.items():
                signal.signal(signum, handler)
            sys.unraisablehook, threading.excepthook = hooks
            os.close(terminal)


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Child processes that are started within the block never see Ctrl-C: their parent does, and ends them.

    The terminal sends it to all of them; each would write a traceback. It stays blocked in the child, while here it is
    delivered when the block ends.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def die_with_parent() -> None:
    """Has the kernel send SIGTERM to this process when its parent ends (Linux; elsewhere nothing happens).

    DVC does not pass SIGTERM on, and a parent that is killed cannot: without this, work would go on unseen.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended between the two calls
        os.kill(os.getpid(), signal.SIGTERM)
