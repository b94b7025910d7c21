"""Netron, which draws a model file's graph in a browser; a package of its own that need not be installed."""

import importlib
from pathlib import Path

from stages.core.base.errors import UsageError
from stages.core.base.file_kinds import SAVED_MODEL_FILE


def open_in_netron(path: Path) -> None:
    """Serves the file to the browser until Ctrl-C.

    Raises:
      UsageError: if Netron is not installed.
    """
    try:
        netron = importlib.import_module("netron")
    except ModuleNotFoundError:
        raise UsageError("--netron: the package netron is not installed: `pip install netron`") from None
    netron.start(str(path / SAVED_MODEL_FILE if path.is_dir() else path))
    netron.wait()
