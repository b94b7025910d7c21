"""Stands in for the child that makes a file: leaves half a file behind and ends as `<exported>/ending` says."""

import os
import signal
import sys
import time
from pathlib import Path

from stages.core.converting import make, recipes
from stages.core.errors import ArtifactError
from stages.core.schemes import Backend, Precision

INT8_RECIPE = (Backend.TFLITE, Precision.INT8, Precision.INT8)


def refuse(error: Exception) -> None:
    """Ends as the real child does when its tool raises."""

    def recipe(source: recipes.Source, scheme: recipes.Scheme) -> recipes.File:
        raise error

    recipes.RECIPES[INT8_RECIPE] = recipe
    sys.exit(make.main(sys.argv[1:]))


def keep_floats() -> None:
    """Ends well, with a file that is not what its name says."""
    recipes.RECIPES[INT8_RECIPE] = recipes.keep_floats
    sys.exit(make.main(sys.argv[1:]))


ENDS = {
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": os.abort,
    "hang": lambda: time.sleep(60),
    "refuse": lambda: refuse(ArtifactError("the graph\n has no detections")),
    "stumble": lambda: refuse(ValueError("unsupported\n  op")),
    "chatter": lambda: (print("INFO: a runtime says hello"), refuse(ArtifactError("no detections"))),
    "bug": lambda: refuse(ZeroDivisionError("division by zero")),
    "floats": keep_floats,
}

if __name__ == "__main__":
    exported, folder = (Path(sys.argv[sys.argv.index(name) + 1]) for name in ("--exported", "--folder"))
    (folder / "model.tflite").write_bytes(b"half a file")
    ENDS[(exported / "ending").read_text()]()
