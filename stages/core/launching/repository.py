"""A git repository and DVC for a folder that the pipeline runs in.

`dvc params diff`, `dvc exp show` and experiments ask git for what was there before.
"""

import shutil
from pathlib import Path

from stages.core.base.layout import PARAMS_FILE
from stages.core.launching.experiments import capture

DAG_FILE = "dvc.yaml"
IDENTITY = {"user.name": "pipeline", "user.email": "pipeline@localhost", "commit.gpgsign": "false"}
COMMITTED = ("stages", DAG_FILE, PARAMS_FILE, ".dvc", ".dvcignore", ".gitignore", "data")
"""What a run or an experiment starts from. dvc.lock is none of it: it would make another start of every fold."""


def start_repository(project: Path, folder: Path) -> None:
    """Gives a folder git and DVC, and the project's DVC settings; what it has already stays as it is.

    Raises:
      DataError: if git or DVC fails.
    """
    if (folder / ".git").exists() and (folder / ".dvc" / "config").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    capture(["git", "init", "--quiet", "--template="], folder)
    for key, value in IDENTITY.items():
        capture(["git", "config", key, value], folder)
    if not (folder / ".dvc" / "config").exists():
        capture(["dvc", "init", "--quiet", "--force"], folder)
    # Over the settings of a run from before runs had git: they say `no_scm`.
    for name in (".dvc/config", ".gitignore"):
        shutil.copy(project / name, folder / name)


def commit_start(folder: Path) -> None:
    """Commits code, DAG and parameters where they differ from the last commit: experiments belong to a commit."""
    capture(["git", "add", "--all", "--", *(name for name in COMMITTED if (folder / name).exists())], folder)
    if capture(["git", "diff", "--cached", "--name-only"], folder) or not capture(["git", "rev-list", "--all"], folder):
        capture(["git", "commit", "--quiet", "--message", "What this run starts from"], folder)
