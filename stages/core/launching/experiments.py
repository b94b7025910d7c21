"""DVC experiments in MLflow: each is checked out of git and the DVC cache into a folder of its own and published.

Nothing in the project changes, and publishing twice adds nothing.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from stages.core.base.errors import DataError
from stages.core.params.tree import load_params
from stages.core.tracking.address import resolve_uri
from stages.core.tracking.state import EXPERIMENT_VARIABLE


def publish_experiments(project: Path, *, all_commits: bool) -> int:
    """Publishes the DVC experiments of the current commit, or of every commit.

    Returns:
      How many could not be published.

    Raises:
      DataError: if there are none, or git or DVC fails.
    """
    uri = resolve_uri(load_params(project).publish.tracking_uri, project, os.environ)
    found = list_experiments(project, all_commits=all_commits)
    if not found:
        raise DataError("no DVC experiments here; make some: dvc exp run --queue -S ... report, then dvc queue start")
    failed = 0
    for name, commit in found.items():
        print(f"{name}: ", end="", flush=True)
        failed += bool(publish_experiment(project, name, commit, uri))
    return failed


def list_experiments(project: Path, *, all_commits: bool) -> dict[str, str]:
    """Name to commit of the DVC experiments, as `dvc exp list` gives them."""
    options = ["--all-commits"] if all_commits else []
    names, commits = (
        capture(["dvc", "exp", "list", *options, f"--{kind}-only"], project).split() for kind in ("name", "sha")
    )
    return dict(zip(names, commits, strict=True))


def publish_experiment(project: Path, name: str, commit: str, uri: str) -> int:
    """Status of `stages.publish` in a worktree of the experiment's commit, with its results out of the DVC cache."""
    with tempfile.TemporaryDirectory(prefix="experiment-") as scratch:
        folder = Path(scratch, "project")
        capture(["git", "worktree", "add", "--detach", str(folder), commit], project)
        try:
            cache = capture(["dvc", "cache", "dir"], project).strip()
            capture(["dvc", "cache", "dir", "--local", str((project / cache).resolve())], folder)
            capture(["dvc", "checkout", "--quiet"], folder)
            environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, EXPERIMENT_VARIABLE: name}
            command = [sys.executable, "-m", "stages.publish", "--root", str(folder)]
            return subprocess.run(command, cwd=project, env=environment, check=False).returncode
        finally:
            capture(["git", "worktree", "remove", "--force", str(folder)], project)


def capture(command: list[str], folder: Path) -> str:
    """What a command writes to stdout.

    Raises:
      DataError: with its last line on stderr, if it fails or is not installed.
    """
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename}: no such command; is the virtual environment active, git installed?"
        ) from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise DataError(f"{' '.join(command[:3])}: {said[-1]}")
    return done.stdout
