"""Stages that are in the middle of something, for tests of signals: each says `ready` and then takes long.

Run as `python -m tests.stopping_stage <kind>`.
"""

import concurrent.futures
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from stages.core.base.folders import replaced_folder
from stages.core.base.native_output import silence_native
from stages.core.base.processes import ChildProcess
from stages.core.command_line import run_stage

LONG_S = 30


def ready() -> None:
    print("ready", flush=True)


def in_python() -> None:
    ready()
    time.sleep(LONG_S)


def in_a_child() -> None:
    with ChildProcess(_sleep, show_stderr=True) as process:
        assert process.receive(timeout_s=None, doing="starting") == "started"
        ready()
        process.receive(timeout_s=None, doing="sleeping")


def _sleep(connection: Connection) -> None:
    connection.send("started")
    time.sleep(LONG_S)


def turned_into_another_error() -> None:
    try:
        in_python()
    except BaseException:
        raise RuntimeError("native code had an error in Python code") from None


def swallowed_in_a_callback() -> None:
    """What a handler raises in a finalizer goes nowhere but to stderr."""

    class Finalized:
        def __del__(self) -> None:
            in_python()

    Finalized()
    time.sleep(LONG_S)


def with_output_held_back() -> None:
    with silence_native():
        print("something that a library says", file=sys.stderr, flush=True)
        in_python()


def with_a_folder_half_written() -> None:
    with replaced_folder(Path(sys.argv[2], "out")) as partial:
        (partial / "file").write_text("half")
        in_python()


def with_other_threads() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(time.sleep, LONG_S)
        in_python()


KINDS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        in_python,
        in_a_child,
        turned_into_another_error,
        swallowed_in_a_callback,
        with_output_held_back,
        with_a_folder_half_written,
        with_other_threads,
    )
}


def main(argv: Sequence[str] | None = None) -> int:
    KINDS[sys.argv[1]]()
    return 0


if __name__ == "__main__":
    run_stage(main)
