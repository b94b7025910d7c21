"""Downloads: once, taken up where they broke off, and checked at every use."""

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from stages import train
from stages.core.base.errors import CheckpointError
from stages.core.training.initializing import downloads
from stages.core.training.initializing.downloads import fetch_file
from stages.core.training.initializing.locating import locate_checkpoint
from stages.core.training.initializing.zoo import ZOO, find_entry, list_zoo
from tests.checkpoint_builder import served
from tests.local_server import Quiet

CONTENT = bytes(range(256)) * 40


class Breaking(Quiet, BaseHTTPRequestHandler):
    """Sends 4,000 bytes and hangs up; goes on from where a client wants, unless told otherwise."""

    asked: list[str | None] = []  # noqa: RUF012 (one server at a time)
    content, tag, knows_ranges, chunk = CONTENT, '"one"', True, 4000

    def __init__(self, *args: Any, directory: str) -> None:
        super().__init__(*args)

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = 0
        if wanted and self.knows_ranges and self.headers.get("If-Range") == self.tag:
            start = int(re.findall(r"\d+", wanted)[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.send_header("ETag", self.tag)
        self.end_headers()
        self.wfile.write(self.content[start : start + self.chunk])


@pytest.fixture
def breaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(downloads, "PAUSE_S", 0.0)
    for name, value in (("asked", []), ("content", CONTENT), ("tag", '"one"'), ("knows_ranges", True), ("chunk", 4000)):
        monkeypatch.setattr(Breaking, name, value)
    with served(tmp_path, Breaking) as address:
        yield f"{address}/model.pb"


def test_a_broken_transfer_is_taken_up_at_once(breaking: str, tmp_path: Path) -> None:
    said: list[str] = []
    fetch_file(breaking, tmp_path / "model.pb", said.append)
    assert (tmp_path / "model.pb").read_bytes() == CONTENT
    assert Breaking.asked == [None, "bytes=4000-", "bytes=8000-"]
    assert sum("broke off" in line for line in said) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["download-model.pb.json", "model.pb"]


def test_and_in_the_next_run(breaking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    for done in (4000, 8000):
        with pytest.raises(OSError, match="got"):
            fetch_file(breaking, tmp_path / "model.pb", lambda text: None)
        assert (tmp_path / "download-model.pb.part").stat().st_size == done
    fetch_file(breaking, tmp_path / "model.pb", lambda text: None)
    assert (tmp_path / "model.pb").read_bytes() == CONTENT


@pytest.mark.parametrize("change", ["another file", "no ranges"])
def test_parts_of_two_files_are_never_put_together(
    change: str, breaking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    with pytest.raises(OSError, match="got"):
        fetch_file(breaking, tmp_path / "model.pb", lambda text: None)
    changed = CONTENT[::-1] if change == "another file" else CONTENT
    monkeypatch.setattr(Breaking, "content", changed)
    monkeypatch.setattr(Breaking, "chunk", len(CONTENT))
    monkeypatch.setattr(Breaking, "tag", '"two"' if change == "another file" else '"one"')
    monkeypatch.setattr(Breaking, "knows_ranges", change == "another file")
    fetch_file(breaking, tmp_path / "model.pb", lambda text: None)
    assert (tmp_path / "model.pb").read_bytes() == changed


def test_a_file_that_changed_on_disk_is_fetched_again(breaking: str, tmp_path: Path) -> None:
    said: list[str] = []
    fetch_file(breaking, tmp_path / "model.pb", said.append)
    said.clear()
    fetch_file(breaking, tmp_path / "model.pb", said.append)
    assert not said
    (tmp_path / "model.pb").write_bytes(CONTENT[:-1])
    fetch_file(breaking, tmp_path / "model.pb", said.append)
    assert "not the file that was fetched" in said[0]
    assert (tmp_path / "model.pb").read_bytes() == CONTENT


def test_a_download_that_is_given_up_says_what_is_kept(
    breaking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    with pytest.raises(CheckpointError, match=r"cannot be downloaded \(got 4000 of 10240 bytes\); 4000 bytes are kept"):
        locate_checkpoint(breaking, None, root=tmp_path, downloads=tmp_path / "d", say=lambda text: None)


def test_a_damaged_archive_is_not_kept(breaking: str, tmp_path: Path) -> None:
    url = breaking.replace("model.pb", "model.tar.gz")
    with pytest.raises(CheckpointError, match="a damaged archive"):
        locate_checkpoint(url, None, root=tmp_path, downloads=tmp_path / "d", say=lambda text: None)
    assert not [path for path in (tmp_path / "d").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_without_a_network_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with pytest.raises(
        CheckpointError, match=r"zoo:.* cannot be downloaded \(.*there may be no network: fetch it"
    ) as caught:
        locate_checkpoint(f"zoo:{name}", ZOO[name], root=tmp_path, downloads=tmp_path, say=lambda text: None)
    assert "\n" not in str(caught.value)


def test_names_of_the_zoo() -> None:
    assert find_entry("weights/ckpt-1") is None
    entry = find_entry("zoo:ssdlite_mobiledet_cpu")
    assert entry is not None
    assert entry.rows == ("retinanet_mobiledet_cpu", "ssdlite_mobiledet_cpu")
    with pytest.raises(CheckpointError, match=r"did you mean 'ssdlite_mobiledet_cpu'.*known: .*resnet50_imagenet"):
        find_entry("zoo:ssdlite_mobiledet_cup")


def test_the_command_line_lists_the_zoo(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        train.main(["--list-zoo"])  # no --model needed
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"{list_zoo()}\n"


def test_the_list_names_every_checkpoint_its_address_and_its_rows() -> None:
    listed = list_zoo()
    for entry in ZOO.values():
        assert entry.rows, entry.name
        assert all(text in listed for text in (entry.name, entry.url, entry.licence, entry.published, *entry.rows))


@pytest.mark.parametrize(
    ("name", "folder"), [("ssdlite_mobiledet_dsp", "fp32"), ("ssdlite_mobiledet_dsp_uint8", "uint8")]
)
def test_one_archive_of_the_zoo_holds_two_checkpoints(name: str, folder: str, tmp_path: Path) -> None:
    import tarfile

    top = tmp_path / "ssdlite_mobiledet_dsp"
    for kind in ("fp32", "uint8"):
        (top / kind).mkdir(parents=True)
        for suffix in ("index", "data-00000-of-00001", "meta"):
            (top / kind / f"model.ckpt-400000.{suffix}").write_text(kind)
        (top / kind / "tflite_graph.pb").write_text(kind)
    with tarfile.open(tmp_path / "zoo.tar.gz", "w:gz") as tar:
        tar.add(top, top.name)
    with served(tmp_path) as address:
        entry = ZOO[name].__class__(**{**vars(ZOO[name]), "url": f"{address}/zoo.tar.gz"})
        found = locate_checkpoint(f"zoo:{name}", entry, root=tmp_path, downloads=tmp_path / "d", say=lambda text: None)
    assert (found.parent.name, found.name) == (folder, "model.ckpt-400000")
