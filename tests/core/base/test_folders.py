"""A folder is replaced as a whole or not at all."""

from pathlib import Path

import pytest

from stages.core.base.folders import replaced_folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_new_content_replaces_the_old(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    for name in ("old", "new"):
        with replaced_folder(folder) as partial:
            (partial / name).touch()
            assert not (folder / name).exists()
    assert names(folder) == {"new"}
    assert names(folder.parent) == {"here"}


def test_an_exception_leaves_the_old_content(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    with replaced_folder(folder) as partial:
        (partial / "old").touch()
    with pytest.raises(ZeroDivisionError), replaced_folder(folder) as partial:
        (partial / str(1 / 0)).touch()
    assert names(folder) == {"old"}
    assert names(tmp_path) == {"here"}


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / ".here.old").mkdir()
    (tmp_path / ".here.old" / "old").touch()
    (tmp_path / ".here.partial").mkdir()
    with pytest.raises(ZeroDivisionError), replaced_folder(tmp_path / "here"):
        assert 1 / 0
    assert names(tmp_path / "here") == {"old"}
    assert names(tmp_path) == {"here"}
