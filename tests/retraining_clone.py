"""A finished run as a project of its own: a git origin, a DVC remote, and clones in which CI's `make` targets run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Clone:
    """A clone of the origin, and the environment of its commands."""

    folder: Path
    environment: Mapping[str, str]

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )

    def check(self, *command: str, status: int = 0) -> str:
        """What a command that ends with this status says."""
        done = self.call(*command)
        assert done.returncode == status, (command, done.stdout, done.stderr)
        return done.stdout

    def make(self, *target: str, status: int = 0) -> str:
        """`make target`, with the packages of this process in place of an installation."""
        return self.check("make", "--no-print-directory", "-o", ".venv/.ready", *target, status=status)


def make_origin(folder: Path, params: Path, environment: Mapping[str, str]) -> Path:
    """A bare repository with the files of this checkout, these parameters, and a folder as DVC remote."""
    seed = Clone(folder / "seed", environment)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.splitlines()):
        if (ROOT / name).is_file():
            (seed.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, seed.folder / name)
    shutil.copy(params, seed.folder / "params.yaml")
    seed.check("git", "init", "--quiet", "--initial-branch=main")
    seed.check("dvc", "remote", "add", "--quiet", "--default", "storage", str(folder / "remote"))
    seed.check("git", "add", ".")
    seed.check("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "-m", "Seed")
    origin = folder / "origin.git"
    seed.check("git", "clone", "--quiet", "--bare", ".", str(origin))
    return origin


def make_clone(origin: Path, folder: Path, environment: Mapping[str, str], tracking_uri: str) -> Clone:
    """A fresh clone with a DVC cache of its own."""
    subprocess.run(["git", "clone", "--quiet", str(origin), str(folder)], check=True)
    (folder / ".venv").symlink_to(sys.prefix)
    return Clone(folder, {**os.environ, **environment, "MLFLOW_TRACKING_URI": tracking_uri})


def give_results(clone: Clone, run: Path) -> None:
    """What a finished `dvc repro` leaves: dvc.lock, the cache and everything checked out."""
    shutil.copy(run / "dvc.lock", clone.folder)
    shutil.copytree(run / ".dvc" / "cache", clone.folder / ".dvc" / "cache")
    clone.check("dvc", "checkout", "--quiet")
