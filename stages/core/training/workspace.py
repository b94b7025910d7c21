"""The work folder of one training: outside DVC's outs, one for each configuration and data set."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.core.base.errors import TrainingError
from stages.core.base.folders import replaced_folder
from stages.core.base.layout import Layout


def work_folder(layout: Layout, model: str, key: str) -> Path:
    """Folder of a training in progress. `key` is the hash of what must be the same for a resume to be right."""
    return layout.work / model / key[:16]


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Holds a folder for this process alone; the kernel lets go of it when the process ends, however it ends.

    Raises:
      TrainingError: if another process is training there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(f"{folder}: another process is training this very configuration") from None
        yield


def move_into_place(result: Path, target: Path) -> None:
    """Moves a finished folder to its target, which changes in one step from the old content to the new."""
    with replaced_folder(target) as partial:
        partial.rmdir()
        shutil.move(result, partial)
