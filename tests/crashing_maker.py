"""Stands in for what makes a file: leaves half a file behind and ends as `<exported>/ending` says."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from stages.core.base.errors import ArtifactError
from stages.core.base.layout import MODEL_FILES
from stages.core.converting.job import ConversionJob, Made


def make_int8(job: ConversionJob, recipe: Callable[..., Any] | None = None) -> Made:
    """Ends as the real function does, with another recipe for int8: the one that changes nothing, or this one."""
    # Imported here, so that those who only crash do it at once.
    from stages.core.converting import make, recipes
    from stages.core.results.kinds import Backend, Precision

    recipes.RECIPES[Backend.TFLITE, Precision.INT8, Precision.INT8] = recipe or recipes.keep_floats
    return make.make_and_prove(job)


def refuse(job: ConversionJob, error: Exception) -> Made:
    def recipe(*arguments: object) -> None:
        raise error

    return make_int8(job, recipe)


ENDS: dict[str, Callable[[ConversionJob], Any]] = {
    "segfault": lambda job: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": lambda job: os.abort(),
    "hang": lambda job: time.sleep(60),
    "refuse": lambda job: refuse(job, ArtifactError("the graph\n has no detections")),
    "stumble": lambda job: refuse(job, ValueError("unsupported\n  op")),
    "chatter": lambda job: (print("INFO: a runtime says hello"), refuse(job, ArtifactError("no detections"))),
    "bug": lambda job: refuse(job, ZeroDivisionError("division by zero")),
    "floats": make_int8,
}


def make_badly(job: ConversionJob) -> Made:
    (job.folder / MODEL_FILES[job.scheme.backend][0]).write_bytes(b"half a file")
    made: Made = ENDS[(job.exported / "ending").read_text()](job)
    return made
