"""The folder of a run with another parameter file: brought models are where the DAG looks for them."""

from pathlib import Path

import pytest

from stages.core.base.errors import MissingResultError
from stages.core.launching.run import copy_brought
from tests.frozen_builder import section


def test_brought_files_and_their_labels_are_copied(tmp_path: Path) -> None:
    project, folder = tmp_path / "project", tmp_path / "run"
    (project / "models" / "brought" / "saved").mkdir(parents=True)
    for name in ("it.pb", "it.txt", "saved/saved_model.pb"):
        (project / "models" / "brought" / name).write_text(name)
    brought = {
        "it": section("models/brought/it.pb", labels="models/brought/it.txt"),
        "saved": section("models/brought/saved"),
    }
    for _ in range(2):
        copy_brought(project, folder, brought)
    copied = {str(path.relative_to(folder / "models" / "brought")) for path in folder.rglob("*") if path.is_file()}
    assert copied == {"it.pb", "it.txt", "saved/saved_model.pb"}


def test_the_dag_has_its_folder_without_any(tmp_path: Path) -> None:
    copy_brought(tmp_path, tmp_path / "run", {})
    assert (tmp_path / "run" / "models" / "brought").is_dir()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingResultError, match=r"brought\.it: .*it\.pb: no such file"):
        copy_brought(tmp_path, tmp_path / "run", {"it": section("models/brought/it.pb")})
