"""Where an init checkpoint may come from."""

import functools
import http.server
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import pytest

from stages.core.base.errors import CheckpointError
from stages.core.training.initializing.locating import locate_checkpoint
from tests.local_server import serving


def write_checkpoint(folder: Path, name: str = "ckpt-7", *, shards: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.index").write_bytes(b"index")
    for shard in range(shards):
        (folder / f"{name}.data-{shard:05}-of-{shards:05}").write_bytes(b"data")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """An HTTP server on this machine that serves tmp_path/web."""
    web = tmp_path / "web"
    write_checkpoint(web / "one")
    write_checkpoint(web / "two", shards=2)
    with tarfile.open(web / "model.tar.gz", "w:gz") as archive:
        archive.add(web / "one", "published/one")
    (web / "lonely.index").write_bytes(b"index")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(web))
    with serving(handler) as port:
        yield f"http://127.0.0.1:{port}"


def fetch(source: str, tmp_path: Path, said: list[str] | None = None) -> Path:
    say = (said if said is not None else []).append
    return locate_checkpoint(source, None, root=tmp_path, downloads=tmp_path / "downloads", say=say)


@pytest.mark.parametrize("source", ["model/ckpt-7", "model/ckpt-7.index", "model", "model/ckpt-7.data-00000-of-00001"])
def test_paths_are_prefixes_files_or_folders(source: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model")
    assert fetch(source, tmp_path) == tmp_path / "model" / "ckpt-7"
    assert fetch(f"{tmp_path}/{source}", tmp_path) == tmp_path / "model" / "ckpt-7"
    assert fetch((tmp_path / source).as_uri(), tmp_path) == tmp_path / "model" / "ckpt-7"


def test_a_folder_of_several_takes_the_one_that_its_state_file_names(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", "ckpt-7")
    write_checkpoint(tmp_path / "model", "ckpt-12")
    with pytest.raises(CheckpointError, match="expected one checkpoint in the folder, found ckpt-12, ckpt-7"):
        fetch("model", tmp_path)
    for written in (
        "ckpt-12",
        "/home/x/run/ckpt-12",
        "C:\\\\Users\\\\x\\\\run\\\\ckpt-12",
        "D:/run/ckpt-12",
        "../run/ckpt-12",
    ):
        (tmp_path / "model" / "checkpoint").write_text(f'model_checkpoint_path: "{written}"\n')
        assert fetch("model", tmp_path) == tmp_path / "model" / "ckpt-12", written


@pytest.mark.parametrize("path", ["one/ckpt-7", "two/ckpt-7", "two/ckpt-7.index", "model.tar.gz"])
def test_a_url_is_downloaded_once(path: str, server: str, tmp_path: Path) -> None:
    said: list[str] = []
    prefix = fetch(f"{server}/{path}", tmp_path, said)
    assert prefix.name == "ckpt-7"
    assert prefix.with_name("ckpt-7.index").read_bytes() == b"index"
    assert len(list(prefix.parent.glob("ckpt-7.data-*"))) == (2 if path.startswith("two") else 1)
    assert said
    said.clear()
    assert fetch(f"{server}/{path}", tmp_path, said) == prefix
    assert not said


@dataclass(frozen=True)
class Missing:
    id: str
    source: str
    says: str


MISSING = [
    Missing("path", "nowhere/ckpt-1", r"nowhere/ckpt-1: no such checkpoint \(looked for .*ckpt-1.index\)"),
    Missing("file-url", "file:///nowhere/ckpt-1", "no such checkpoint"),
    Missing("empty-folder", "empty", "expected one checkpoint in the folder, found none"),
    Missing("http-index", "{server}/one/ckpt-8", "cannot be downloaded .*404"),
    Missing("http-data", "{server}/lonely", "cannot be downloaded .*no data file"),
    Missing("dead-server", "http://127.0.0.1:9/ckpt", "cannot be downloaded"),
]


@pytest.mark.parametrize("case", MISSING, ids=attrgetter("id"))
def test_what_is_missing_is_said(case: Missing, server: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=case.says):
        fetch(case.source.format(server=server), tmp_path)
