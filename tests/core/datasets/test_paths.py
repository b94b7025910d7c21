"""What lies outside of `prepare.path` is refused, because DVC does not see it change."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dataset_builder import prepare_params

from stages.core.base.errors import DataError, ParamsError
from stages.core.datasets.paths import check_links, check_paths


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("annotations", "../a.json"),
        ("annotations", "/etc/a.json"),
        ("annotations", "x/../../a.json"),
        ("annotations", "..\\a.json"),
        ("annotations", "x/../../*.record"),
        ("annotations", {"train": "a.json", "val": "../b.json"}),
        ("images", "../images"),
        ("images", ".."),
        ("label_map", "../map.pbtxt"),
    ],
)
def test_parameters_that_lead_out(name: str, value: Any, tmp_path: Path) -> None:
    key = f"prepare.{name}.val" if isinstance(value, dict) else f"prepare.{name}"
    with pytest.raises(ParamsError, match=rf"^{key}: .* leads out of prepare\.path"):
        check_paths(prepare_params("coco", **{name: value}), tmp_path / "raw")


@pytest.mark.parametrize("value", ["a.json", "x/a.json", "./a.json", "x/../a.json", "*.record", "a@3", "."])
def test_parameters_that_stay_inside(value: str, tmp_path: Path) -> None:
    check_paths(prepare_params("coco", annotations=value, images=value), tmp_path / "raw")
    check_paths(prepare_params("coco", annotations=str(tmp_path / "raw" / "a.json")), tmp_path / "raw")


def linked(folder: Path, kind: str) -> Path:
    """A data set with something outside that a link inside leads to."""
    raw = folder / "raw" / "deep"
    raw.mkdir(parents=True)
    (folder / "outside").mkdir()
    (folder / "outside" / "a.txt").write_text("1")
    (raw / "own").mkdir()
    if kind == "folder":
        (raw / "link").symlink_to(folder / "outside")
    elif kind == "relative_folder":
        (raw / "link").symlink_to("../../outside")
    elif kind == "file":
        (raw / "a.txt").symlink_to(folder / "outside" / "a.txt")
    elif kind == "inside":
        (raw / "link").symlink_to("own")
    elif kind == "top":
        (folder / "raw2").symlink_to(folder / "outside")
        return folder / "raw2"
    return folder / "raw"


@pytest.mark.parametrize("kind", ["folder", "relative_folder"])
def test_folders_behind_links(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"raw/deep/link: a link to .*outside, out of prepare\.path"):
        check_links(linked(tmp_path, kind))


@pytest.mark.parametrize("kind", ["file", "inside", "top"])
def test_links_that_dvc_follows(kind: str, tmp_path: Path) -> None:
    check_links(linked(tmp_path, kind))


@pytest.mark.slow
def test_dvc_sees_changes_behind_the_links_that_are_allowed(tmp_path: Path) -> None:
    raws = {kind: linked(tmp_path / kind, kind).relative_to(tmp_path) for kind in ("file", "top", "folder")}
    stages = ", ".join(f"{kind}: {{cmd: 'true', deps: [{raw.as_posix()}]}}" for kind, raw in raws.items())
    (tmp_path / "dvc.yaml").write_text(f"stages: {{{stages}}}")

    def dvc(*words: str) -> str:
        command = [sys.executable, "-m", "dvc", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    dvc("init", "--no-scm", "-q")
    dvc("repro", "-q")
    for kind in raws:
        (tmp_path / kind / "outside" / "a.txt").write_text("another")
    status = dvc("status")
    assert [kind for kind, raw in raws.items() if raw.as_posix() in status] == ["file", "top"]
