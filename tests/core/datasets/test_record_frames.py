"""The framing of TFRecord files: what is found, and where each kind of damage is said to be."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import pytest
from record_builder import frame, write_records

from stages.core.base.errors import DataError
from stages.core.datasets.record_frames import find_records, read_record_frames

RECORDS = [b"first", b"", b"third" * 40]
SECOND = 12 + 5 + 4
THIRD = SECOND + 12 + 4


@pytest.mark.parametrize("packed", [False, True])
def test_records_and_their_offsets(packed: bool, tmp_path: Path) -> None:
    found = list(read_record_frames(write_records(tmp_path / "a.record", RECORDS, packed=packed)))
    assert [item.data for item in found] == RECORDS
    assert [(item.index, item.offset) for item in found] == [(0, 0), (1, SECOND), (2, THIRD)]


def test_a_damaged_record_is_passed_over(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.record", RECORDS)
    data = bytearray(path.read_bytes())
    data[14] ^= 1
    path.write_bytes(data)
    assert [item.data for item in read_record_frames(path)] == [None, *RECORDS[1:]]


@dataclass(frozen=True, kw_only=True)
class Damage:
    id: str
    change: Callable[[bytes], bytes]
    says: str


def flip(offset: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


DAMAGE = [
    Damage(
        id="ends_in_data", change=lambda data: data[:-50], says=f"byte {THIRD}: the file ends after 166 bytes of 216"
    ),
    Damage(
        id="ends_in_length", change=lambda data: data[: THIRD + 5], says=f"byte {THIRD}: the file ends after 5 bytes"
    ),
    Damage(id="ends_in_checksum", change=lambda data: data[:-1], says="after 215 bytes of 216 of record 2"),
    Damage(id="length", change=flip(SECOND), says=f"byte {SECOND}: record 1 is damaged: the checksum of its length"),
    Damage(id="no_records", change=lambda data: b"just a text file, no more", says="byte 0: not a TFRecord file"),
    Damage(id="gzip_ends", change=lambda data: gzip.compress(data)[:-20], says="byte (unpacked) "),
    Damage(id="gzip_damaged", change=lambda data: gzip.compress(data)[:12] + bytes(30), says="damaged gzip"),
    Damage(
        id="bytes_behind", change=lambda data: data + b"tail", says=f"byte {THIRD + 216}: the file ends after 4 bytes"
    ),
]


@pytest.mark.parametrize("case", DAMAGE, ids=attrgetter("id"))
def test_lost_framing_names_file_offset_and_what_is_whole(case: Damage, tmp_path: Path) -> None:
    path = tmp_path / "a.record"
    path.write_bytes(case.change(b"".join(map(frame, RECORDS))))
    with pytest.raises(DataError) as error:
        list(read_record_frames(path))
    assert str(error.value).startswith(f"{path}: ")
    assert case.says in str(error.value)
    assert "records before are whole" in str(error.value)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


SHARDS = [f"x.record-0000{index}-of-00003" for index in range(3)]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        pytest.param(None, ["sub/y.tfrecord", *SHARDS, "z.TFRecord.gz"], id="all"),
        pytest.param("x.record@3", SHARDS, id="at"),
        pytest.param("x.record-?????-of-00003", SHARDS, id="api"),
        pytest.param("x.*", SHARDS, id="glob"),
        pytest.param("sub/y.tfrecord", ["sub/y.tfrecord"], id="file"),
        pytest.param(SHARDS[1], SHARDS[1:2], id="one_shard"),
    ],
)
def test_names_stand_for_files(pattern: str | None, found: list[str], tmp_path: Path) -> None:
    touch(tmp_path, *SHARDS, "sub/y.tfrecord", "z.TFRecord.gz", "._x.record", "notes.txt")
    assert [path.relative_to(tmp_path).as_posix() for path in find_records(tmp_path, pattern)] == found


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        (None, "1 of 3 shards are missing, first x.record-00001-of-00003"),
        ("x.record@3", "1 of 3 shards are missing"),
        ("x.record@4", "no such records"),
        ("gone.record", "gone.record: no such records"),
        ("a**b", "is no file and no glob"),
    ],
)
def test_what_is_missing_is_named(pattern: str | None, says: str, tmp_path: Path) -> None:
    touch(tmp_path, SHARDS[0], SHARDS[2])
    with pytest.raises(DataError) as error:
        find_records(tmp_path, pattern)
    assert says in str(error.value)
