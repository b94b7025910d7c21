"""A signal at a given moment of a process's life; Python imports this first where its folder is on PYTHONPATH.

`SIGNAL_AT=15:pydantic` sends signal 15 when that module begins to be imported, `15:` when the interpreter shuts down.
"""

import atexit
import os
import sys
from typing import Any

number, _, moment = os.environ.pop("SIGNAL_AT").partition(":")


def send() -> None:
    os.kill(os.getpid(), int(number))


def see(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "import" and arguments[0] == moment:
        send()


if moment:
    sys.addaudithook(see)
else:
    atexit.register(send)
