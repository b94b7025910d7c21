"""Stands in for the child that makes a file: leaves half a file behind and ends as `<exported>/ending` says."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.core.errors import ArtifactError


def make_int8(recipe: Callable[..., Any] | None = None) -> None:
    """Ends as the real child does, with another recipe for int8: the one that changes nothing, or this one."""
    # Imported here, so that those who only crash do it at once.
    from stages.core.converting import make, recipes
    from stages.core.schemes import Backend, Precision

    recipes.RECIPES[Backend.TFLITE, Precision.INT8, Precision.INT8] = recipe or recipes.keep_floats
    sys.exit(make.main(sys.argv[1:]))


def refuse(error: Exception) -> None:
    def recipe(*arguments: object) -> None:
        raise error

    make_int8(recipe)


ENDS = {
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": os.abort,
    "hang": lambda: time.sleep(60),
    "refuse": lambda: refuse(ArtifactError("the graph\n has no detections")),
    "stumble": lambda: refuse(ValueError("unsupported\n  op")),
    "chatter": lambda: (print("INFO: a runtime says hello"), refuse(ArtifactError("no detections"))),
    "bug": lambda: refuse(ZeroDivisionError("division by zero")),
    "floats": make_int8,
}

if __name__ == "__main__":
    exported, folder = (Path(sys.argv[sys.argv.index(name) + 1]) for name in ("--exported", "--folder"))
    (folder / "model.tflite").write_bytes(b"half a file")
    ENDS[(exported / "ending").read_text()]()
