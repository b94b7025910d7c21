"""A Keras model that only its author's code can build, saved as a SavedModel. The code runs in a process of its own."""

import os
import runpy
import sys
from pathlib import Path
from typing import Any

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.processes import ProcessFailedError, run_in_child

BUILDER = "build_model"
TIMEOUT_S = 1800.0


def save_foreign_model(code: Path, weights: Path, folder: Path) -> None:
    """Runs a Python file that the user named, loads weights into the model that it builds, and saves that.

    The file's function `build_model()` returns a Keras model in inference; what it imports lies beside it. Keras 2 is
    what `tensorflow.keras` gives it. It may switch eager execution off: it does so in its own process.

    Args:
      code: The file. It is run.
      weights: The .h5 file.
      folder: Where the SavedModel goes.

    Raises:
      MissingResultError: if a file is missing.
      ArtifactError: if the code fails, builds no Keras model, or the weights do not fit.
    """
    for path in (code, weights):
        if not path.is_file():
            raise MissingResultError(f"{path}: no such file")
    try:
        problem = run_in_child(
            _build_and_save, code, weights, folder, timeout_s=TIMEOUT_S, doing=f"running {code.name}"
        )
    except ProcessFailedError as error:
        raise ArtifactError(f"{code}: {error}") from None
    if problem:
        raise ArtifactError(f"{code}: {problem}")


def _build_and_save(code: Path, weights: Path, folder: Path) -> str:
    """What is wrong, in one line; empty if the SavedModel is there."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    # Last: a neighbour must not hide a module of Python's.
    sys.path.append(str(code.parent.resolve()))
    try:
        functions = runpy.run_path(str(code), run_name="own_model")
        if not callable(functions.get(BUILDER)):
            return f"no function {BUILDER}()"
        model: Any = functions[BUILDER]()
        if not hasattr(model, "load_weights") or not hasattr(model, "save"):
            return f"{BUILDER}() returned a {type(model).__name__}, expected a Keras model"
        model.load_weights(str(weights))
        model.save(str(folder), save_format="tf", include_optimizer=False)
    except (Exception, SystemExit) as error:  # whatever somebody else's code raises
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return ""
