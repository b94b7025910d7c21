"""A series of DVC experiments in a git repository of its own: each is run once, and its results table read back.

`dvc exp run` needs git, and leaves parameters and results of its last experiment in the workspace. In a folder with a
repository of its own the project's workspace, parameters and experiments stay as they are.
"""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.base.jsonfile import read_json
from stages.core.base.layout import Layout
from stages.core.launching.experiments import capture, list_experiments
from stages.core.launching.following import followed
from stages.core.launching.repository import commit_start, start_repository
from stages.core.launching.run import make_folder, project_environment, run
from stages.core.results.table import Metrics
from stages.core.tracking.state import EXPERIMENT_VARIABLE


@dataclass(frozen=True, kw_only=True)
class Series:
    """Finished experiments.

    Attributes:
      commits: Name to commit, in the order they were asked for.
      metrics: Name to results table.
      status: 0, or that of the first experiment that failed; the others are then not run.
    """

    commits: Mapping[str, str]
    metrics: Mapping[str, Metrics]
    status: int = 0


def run_series(
    project: Path,
    folder: Path,
    tree: Mapping[str, Any],
    experiments: Mapping[str, Sequence[str]],
    say: Callable[[str], None],
) -> Series:
    """Runs the DAG up to `report` for every experiment that is not done yet.

    Args:
      folder: Made, or gone on with: finished experiments of the same code and parameters are not run again, and a
        training that was stopped resumes.
      tree: The params.yaml that all start from; it must hold every key that an experiment changes.
      experiments: Name to `key=value` changes.
      say: Takes what is to be printed.

    Raises:
      DataError: if git or DVC fails.
    """
    environment = project_environment(project)
    start_repository(project, folder)
    make_folder(project, folder, dict(tree))
    commit_start(folder)
    done = list_experiments(folder, all_commits=False)
    status = 0
    for name, changes in experiments.items():
        if name in done:
            say(f"{name}: done before")
            continue
        say(f"{name} of {len(experiments)}")
        options = [part for change in changes for part in ("-S", change)]
        with followed(folder, {**environment, EXPERIMENT_VARIABLE: name}):
            status = run(["dvc", "exp", "run", "--name", name, *options, "report"], folder, environment)
        if status:
            break
    if not done.keys() >= set(experiments):
        done = list_experiments(folder, all_commits=False)
    commits = {name: done[name] for name in experiments if name in done}
    metrics = {name: fetch_metrics(folder, commit) for name, commit in commits.items()}
    return Series(commits=commits, metrics=metrics, status=status)


def fetch_metrics(folder: Path, commit: str) -> Metrics:
    """The results table of an experiment, out of the DVC cache."""
    with tempfile.TemporaryDirectory(prefix="experiment-") as scratch:
        copy = Path(scratch, "metrics")
        source = os.path.relpath(Layout(folder).metrics, folder)
        capture(["dvc", "get", "--quiet", "--rev", commit, "--out", str(copy), ".", source], folder)
        return read_json(Metrics, copy)
