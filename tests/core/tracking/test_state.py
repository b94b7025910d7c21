"""The state of a project: its commit, and whether files differ from it; results do not make it dirty."""

import subprocess
from pathlib import Path

import pytest
import yaml

from stages.core.base.errors import ArtifactError
from stages.core.tracking.state import UNKNOWN, ProjectState, read_state


def git(root: Path, *args: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *identity, *args], cwd=root, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A fresh clone that was reproduced: everything committed, dvc.lock new, results ignored."""
    (tmp_path / ".gitignore").write_text("metrics.json\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "start")
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "dvc.lock").write_text("stages: {}")
    return tmp_path


def read(root: Path) -> ProjectState:
    return read_state(root, dvc_lock=root / "dvc.lock", metrics=root / "metrics.json")


def test_a_new_dvc_lock_is_not_dirt(root: Path) -> None:
    state = read(root)
    assert state.git_sha == git(root, "rev-parse", "HEAD").strip()
    assert not state.git_dirty


@pytest.mark.parametrize("file", ["params.yaml", ".gitignore"], ids=["new", "changed"])
def test_other_files_are(file: str, root: Path) -> None:
    with (root / file).open("a") as stream:
        stream.write("# changed\n")
    assert read(root).git_dirty


def test_outside_of_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "metrics.json").write_text("{}")
    state = read(tmp_path)
    assert (state.git_sha, state.git_dirty) == (UNKNOWN, False)


LOCK = {"train": {"cmd": "t", "outs": [1]}, "report": {"cmd": "r"}, "gate": {"cmd": "g", "params": {"gate": 1}}}
CHANGES = {
    "another bound": ({"gate": {"cmd": "g", "params": {"gate": 2}}}, True),
    "another report": ({"report": {"cmd": "other"}}, True),
    "another training": ({"train": {"cmd": "t", "outs": [2]}}, False),
    "a stage more": ({"convert": {"cmd": "c"}}, False),
}


@pytest.mark.parametrize(("change", "same"), CHANGES.values(), ids=CHANGES)
def test_the_state_is_what_was_measured(change: dict[str, object], same: bool, root: Path) -> None:
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": LOCK}))
    before = read(root)
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": {**LOCK, **change}}))
    assert (read(root).key == before.key) == same
    assert read(root).dvc_lock_sha256 != before.dvc_lock_sha256


@pytest.mark.parametrize("text", ["", "[]", "{", "a: b", "stages: 3"])
def test_a_damaged_dvc_lock_is_one_line(text: str, root: Path) -> None:
    (root / "dvc.lock").write_text(text)
    with pytest.raises(ArtifactError, match=r"dvc\.lock: not what `dvc repro` writes"):
        read(root)
