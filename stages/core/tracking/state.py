"""Which state of the project a publication stands for."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.hashing import hash_file, hash_value
from stages.core.base.layout import PROJECT_VARIABLE

UNKNOWN = "unknown"
JUDGING_STAGES = ("report", "gate")
"""They say what follows from the numbers, and measure nothing."""
EXPERIMENT_VARIABLE = "DVC_EXP_NAME"
"""Set by DVC while it runs an experiment."""


@dataclass(frozen=True, kw_only=True)
class ProjectState:
    """The project at the moment of publishing.

    Attributes:
      key: What the parent run is found by: the hash of what dvc.lock says of the stages that measure, or of
        metrics.json where there is no dvc.lock. Another bound of the gate is no other state: only verdicts change.
      dvc_lock_sha256: None where the stages were run by hand.
      git_sha: Commit, or `unknown` outside of git.
      git_dirty: Whether tracked or new files differ from it; dvc.lock aside, which is a result and is told by its hash.
      experiment: Name of the DVC experiment; empty outside of one.
    """

    key: str
    dvc_lock_sha256: str | None
    git_sha: str
    git_dirty: bool
    experiment: str = ""


def read_state(root: Path, *, dvc_lock: Path, metrics: Path) -> ProjectState:
    """Hashes dvc.lock (or metrics.json) and asks git.

    Raises:
      MissingResultError: if there are no results yet.
    """
    if not metrics.exists():
        raise MissingResultError(f"{metrics}: no such file; run `dvc repro` or `python -m stages.report` first")
    checkout = Path(os.environ.get(PROJECT_VARIABLE, root))
    lock_sha256 = hash_file(dvc_lock) if dvc_lock.exists() else None
    return ProjectState(
        key=_hash_measured(dvc_lock) if lock_sha256 else f"metrics-{hash_file(metrics)}",
        dvc_lock_sha256=lock_sha256,
        git_sha=_git(checkout, "rev-parse", "HEAD") or UNKNOWN,
        git_dirty=bool(_git(checkout, "status", "--porcelain", "--", ".", ":!dvc.lock")),
        experiment=os.environ.get(EXPERIMENT_VARIABLE, ""),
    )


def _hash_measured(dvc_lock: Path) -> str:
    """Raises ArtifactError if it is not the YAML that DVC writes."""
    try:
        stages = yaml.safe_load(dvc_lock.read_text())["stages"]
        return hash_value({name: entry for name, entry in stages.items() if name not in JUDGING_STAGES})
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise ArtifactError(f"{dvc_lock}: not what `dvc repro` writes; take it out, or run `dvc repro`") from None


def _git(root: Path, *args: str) -> str:
    """Output of a git command; empty where there is no git or no repository."""
    try:
        done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
