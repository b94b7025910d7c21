"""A process beside `dvc repro` that sends the curves of its trainings to MLflow."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stages.core.base.stopping import without_ctrl_c
from stages.core.params.tree import load_params
from stages.core.tracking.address import is_local

LAST_WORDS_S = 2.0
"""How long it may take to send the rest to a server; `publish` sends what is then missing."""
LOCAL_LAST_WORDS_S = 60.0
"""The same for a file of this machine, which may be about to get its tables."""


@contextmanager
def followed(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Trainings in `folder` within the block are streamed, if `publish.stream` says so. Nothing waits for that.

    It is over when the block is, so that `publish` and it never make the same run twice.
    """
    if not load_params(folder).publish.stream:
        yield
        return
    command = [sys.executable, "-m", "stages.follow", "--until-eof"]
    with without_ctrl_c():
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        _end(process, environment["MLFLOW_TRACKING_URI"])


def _end(process: "subprocess.Popen[bytes]", uri: str) -> None:
    """Lets the process send the rest, for a while."""
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(LOCAL_LAST_WORDS_S if is_local(uri) else LAST_WORDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
