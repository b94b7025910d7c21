"""Work in a fresh process: a crash of native code there is an error here, not the end of the run.

Processes are spawned, not forked: a fork would inherit the locked mutexes of this process's threads, and its memory
peak.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from stages.core.base.stopping import SIGNALS, Stopped, die_with_parent, without_ctrl_c

P = ParamSpec("P")
T = TypeVar("T")

HUNG_UP = (EOFError, BrokenPipeError, ConnectionResetError)
"""What reading from or writing to a connection raises once the other end is gone."""


class ProcessFailedError(Exception):
    """A process crashed, or ended without an answer; the message is one line."""


class ProcessTimeoutError(ProcessFailedError):
    """A process gave no answer in time."""


@dataclass(frozen=True, eq=False)
class _Raised:
    """An exception on its way to the parent, with the traceback that pickling would lose."""

    error: Exception
    trace: str


class ChildProcess:
    """A fresh process that runs a function and exchanges values with it; a context manager.

    What the process writes to stdout, and to stderr unless that is shown, is kept for messages. Leaving the context
    ends the process, whatever it is doing.
    """

    def __init__(self, serve: Callable[..., None], *args: Any, show_stderr: bool = False) -> None:
        """Sets what to run.

        Args:
          serve: Called as `serve(connection, *args)` in the process; a module's top-level function. An exception that
            leaves it is raised by `receive`, with the process's traceback as a note.
          args: Values that can be pickled.
          show_stderr: Whether what it writes to stderr (a progress bar) goes to the terminal.
        """
        descriptor, log = tempfile.mkstemp(prefix="process-", suffix=".log")
        os.close(descriptor)
        self._log = Path(log)
        context = multiprocessing.get_context("spawn")
        self._connection, self._theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(self._theirs, log, show_stderr, serve, args), daemon=True)

    def __enter__(self) -> Self:
        with without_ctrl_c():
            self._process.start()
        # Only the child may hold its end, else its death would not be seen here.
        self._theirs.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join(timeout=1 if error is None else 0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._log.unlink(missing_ok=True)

    def send(self, value: Any) -> None:
        """Sends a value; a process that is gone is explained when its answer is awaited."""
        with contextlib.suppress(*HUNG_UP):
            self._connection.send(value)

    def receive(self, *, timeout_s: float | None, doing: str) -> Any:
        """The next value that the process sends.

        Args:
          timeout_s: How long to wait; None: for as long as it takes.
          doing: For messages, e.g. `opening the file`.

        Raises:
          ProcessTimeoutError: if nothing comes in time.
          ProcessFailedError: if the process ends before it has sent anything.
          Exception: whatever the function raised.
        """
        try:
            if not self._connection.poll(timeout_s):
                raise ProcessTimeoutError(f"no answer within {timeout_s:g} s while {doing}")
            answer = self._connection.recv()
        except HUNG_UP:
            raise self._explain_end(doing) from None
        if isinstance(answer, _Raised):
            answer.error.add_note(answer.trace)
            raise answer.error
        return answer

    def _explain_end(self, doing: str) -> ProcessFailedError:
        self._process.join()
        code, log = self._process.exitcode or 0, self._log.read_text(errors="replace")
        if -code in SIGNALS:
            # Whoever told the process to stop meant the whole run: this is no fault of what it was doing.
            raise Stopped(-code)
        if code < 0:
            return ProcessFailedError(describe_crash(code, log, doing))
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        last = f": {lines[-1]}" if lines else ""
        return ProcessFailedError(f"the process ended with status {code} while {doing}{last}")


def run_in_child(function: Callable[P, T], *args: P.args, timeout_s: float, doing: str, show_stderr: bool = False) -> T:  # type: ignore[valid-type]
    """Calls a function in a fresh process and returns its result.

    Args:
      function: A module's top-level function; arguments and result can be pickled.
      timeout_s: How long it may take.
      doing: For messages, e.g. `running one image`.
      show_stderr: Whether what it writes to stderr (a progress bar) goes to the terminal.

    Raises:
      ProcessFailedError: if the process crashes, ends without a result, or takes too long.
      Exception: whatever the function raised.
    """
    with ChildProcess(_call_once, function, args, show_stderr=show_stderr) as process:
        result: T = process.receive(timeout_s=timeout_s, doing=doing)
    return result


def describe_crash(exit_code: int, log: str, doing: str) -> str:
    """One line on a process that a signal ended: which signal, when, and the last thing it said.

    Args:
      exit_code: Minus the signal's number.
      log: What the process wrote.
      doing: What it was doing, e.g. `opening the file`.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith("INFO:")]
    reason = f"the runtime crashed ({signal.Signals(-exit_code).name}) while {doing}"
    return f"{reason}: {lines[-1]}" if lines else reason


def _call_once(connection: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    connection.send(function(*args))


def _run(
    connection: Connection, log: str, show_stderr: bool, serve: Callable[..., None], args: tuple[Any, ...]
) -> None:
    # The first child of a process is not covered by `without_ctrl_c`: starting multiprocessing's resource tracker
    # takes the block away again.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What native code says before it dies goes to the file descriptors, not to sys.stderr.
    die_with_parent()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1,) if show_stderr else (1, 2):
        os.dup2(descriptor, stream)
    try:
        serve(connection, *args)
    except HUNG_UP:
        return
    except Exception as error:
        trace = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        connection.send(_Raised(error, trace))
