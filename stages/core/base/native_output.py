"""What third-party code writes to stdout and stderr: held back, or sent to a log file."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

STDERR = 2


@contextmanager
def silence_native() -> Iterator[None]:
    """Keeps what is written to file descriptor 2 within the block, and repeats it if an error leaves the block."""
    sys.stderr.flush()
    kept = os.dup(STDERR)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), STDERR)
        try:
            yield
        except Exception:
            sys.stderr.flush()
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, STDERR)
            os.close(kept)


class OutputLog:
    """Where file descriptors 1 and 2 point to while training runs.

    Attributes:
      terminal: Text stream to what stderr was before.
      path: The log file.
    """

    def __init__(self, path: Path, terminal: IO[str]) -> None:
        self.terminal = terminal
        self.path = path
        self._point_to(path)

    def move_to(self, path: Path) -> None:
        """Goes on in another file, which gets (at its end) what was logged so far."""
        flush_streams()
        with path.open("ab") as new:
            new.write(self.path.read_bytes())
        self._point_to(path)
        self.path.unlink()
        self.path = path

    def _point_to(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        flush_streams()
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)


@contextmanager
def redirect_output(path: Path) -> Iterator[OutputLog]:
    """Sends everything written to stdout and stderr, by Python or by native code, to the end of a file.

    The file is removed at the end, unless `OutputLog.move_to` has moved it.
    """
    flush_streams()
    kept = os.dup(1), os.dup(2)
    streams = sys.stdout, sys.stderr
    terminal = os.fdopen(os.dup(kept[1]), "w", buffering=1)
    try:
        log = OutputLog(path, terminal)
        # New streams on the same descriptors: whoever replaced sys.stdout (a test runner) gets none of it either.
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        yield log
    finally:
        flush_streams()
        sys.stdout, sys.stderr = streams
        path.unlink(missing_ok=True)
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for descriptor in kept:
            os.close(descriptor)
        terminal.close()


def flush_streams() -> None:
    """Empties Python's buffers, so that lines land in the file that was open when they were written."""
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
