"""Files that hold code of their own, run because the user trusts them: in a process of its own, to a SavedModel."""

import importlib
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

from stages.core.base.errors import ArtifactError
from stages.core.base.file_kinds import FileKind
from stages.core.base.layout import SAVED_MODEL
from stages.core.base.processes import ProcessFailedError, run_in_child
from stages.core.inspecting.keras_files import read_keras_version
from stages.core.inspecting.tensorflow_graphs import inspect_saved_model

TIMEOUT_S = 600.0


def inspect_by_running(path: Path, kind: FileKind) -> dict[str, Any]:
    """Fields of an `Inspection` of the graph that a Keras file or a pickled Keras model builds. Its code is run.

    Raises:
      ArtifactError: if it cannot be built, or is no Keras model.
    """
    version = "" if kind is FileKind.PICKLE else read_keras_version(path, kind)
    library = "tf_keras" if version.startswith("2.") else "keras"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / SAVED_MODEL
        try:
            problem = run_in_child(
                build_and_save, path, target, kind, library, timeout_s=TIMEOUT_S, doing=f"running {path.name}"
            )
        except ProcessFailedError as error:
            raise ArtifactError(f"{path}: {error}") from None
        if problem:
            raise ArtifactError(f"{path}: {problem}")
        found = inspect_saved_model(target)
    notes = ("its own code was run (--trust); ops are those of the graph that it builds",)
    return {**found, "notes": notes, "metadata": (("keras_version", version),) if version else ()}


def build_and_save(path: Path, folder: Path, kind: FileKind, library: str) -> str:
    """What is wrong, in one line; empty if the SavedModel is there."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        if kind is FileKind.PICKLE:
            with path.open("rb") as file:
                model = pickle.load(file)
        else:
            model = importlib.import_module(library).models.load_model(path, compile=False, safe_mode=False)
        if not hasattr(model, "export"):
            return f"holds a {type(model).__module__}.{type(model).__name__}, expected a Keras model"
        model.export(str(folder))
    except ModuleNotFoundError as error:
        return f"needs the module {error.name}, which is not installed here"
    except (Exception, SystemExit) as error:  # whatever somebody else's code raises
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return ""
