"""Files of a data set: a Mac's and other systems' own are passed over; text has one of the encodings that say so."""

import codecs
import json
from pathlib import Path

import pytest

from stages.core.base.errors import DataError
from stages.core.datasets.data_files import list_data_files, read_data_json, read_data_text
from stages.core.datasets.folder_hints import describe_folder, recognise_folder
from stages.core.datasets.record_classes import RecordClasses, load_classes
from stages.core.datasets.record_frames import find_records

TEXT = "ä.jpg\r\nb.jpg\r\n"


def test_suffixes_in_any_case_and_no_hidden_files(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.jpg", "x/c.Jpg", "._a.jpg", ".git/d.jpg", "__MACOSX/e.jpg", "f.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_data_files(tmp_path, {".jpg"}) == ["a.jpg", "b.JPG", "x/c.Jpg"]


HIDDEN = (".prepared.partial", "__MACOSX", ".git")


@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_is_listed_or_recognised_is_not_hidden(hidden: str, tmp_path: Path) -> None:
    for name in ("train/a.tfrecord", "annotations.json", "a.pbtxt"):
        path = tmp_path / hidden / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"images": [], "categories": []}')
    assert recognise_folder(tmp_path) == []
    assert describe_folder(tmp_path) == "it is empty"
    assert load_classes(tmp_path, None) == RecordClasses()
    with pytest.raises(DataError, match=r"no TFRecord files .*; it is empty$"):
        find_records(tmp_path, None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT.encode(encoding))
    assert read_data_text(tmp_path / "a.txt") == TEXT


def test_big_endian(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"))
    assert read_data_text(tmp_path / "a.txt") == TEXT


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"a.jpg\n\xe4.jpg", "line 2: byte 6 is not UTF-8", id="latin_1"),
        pytest.param("a\nb".encode("utf-16-le"), "line 1: a zero byte (UTF-16 without its mark?)", id="no_mark"),
        pytest.param(codecs.BOM_UTF16_LE + b"a", "is not UTF-16", id="half_a_letter"),
    ],
)
def test_other_encodings_are_refused_with_their_location(data: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(DataError) as error:
        read_data_text(tmp_path / "a.txt")
    assert str(error.value).startswith(f"{tmp_path / 'a.txt'}: ")
    assert says in str(error.value)
    assert "save the file as UTF-8" in str(error.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="directory"):
        read_data_text(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(json.dumps({"ä": 1}, ensure_ascii=False).encode(encoding))
    assert read_data_json(tmp_path / "a.json") == {"ä": 1}


@pytest.mark.parametrize(
    ("data", "says"), [("[" * 100_000, "nested too deeply"), ("9" * 5000, "digits"), ("{'a': 1}", "line 1 column 2")]
)
def test_json_that_is_none(data: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(data)
    with pytest.raises(DataError, match=says):
        read_data_json(tmp_path / "a.json")
