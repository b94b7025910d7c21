"""TFRecord files: their framing, record by record, with the offset of every fault; and which files a name stands for.

Format: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details. TensorFlow's own reader stops
at the first fault and does not say what came before; this one passes over a record whose bytes alone are damaged.
"""

import gzip
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from stages.core.base.errors import DataError
from stages.core.datasets.checksums import masked_crc32c
from stages.core.datasets.data_files import list_visible
from stages.core.datasets.folder_hints import describe_folder, is_record_file

GZIP = b"\x1f\x8b"
HEADER, FOOTER = 12, 4
SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})")


@dataclass(frozen=True, kw_only=True)
class RecordFrame:
    """One record of a file.

    Attributes:
      index: In the file, from 0.
      offset: Of its first byte; in the unpacked stream where the file is gzip.
      data: The record's bytes; None where they do not fit their checksum.
    """

    index: int
    offset: int
    data: bytes | None


def read_record_frames(path: Path) -> Iterator[RecordFrame]:
    """The records of one file, plain or gzip.

    Raises:
      DataError: naming file and offset where the framing is lost (a truncated file, a damaged length): nothing behind
        can be found, and a set of which an unknown part is missing is no set to train on.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP
            raw.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
            yield from _walk(stream, path, "byte (unpacked)" if packed else "byte")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _walk(stream: BinaryIO, path: Path, unit: str) -> Iterator[RecordFrame]:
    index = offset = 0
    while True:
        try:
            header = stream.read(HEADER)
            if not header:
                return
            length = _length_of(header)
            rest = b"" if length is None else stream.read(length + FOOTER)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: {unit} {offset}: damaged gzip ({error}); {_kept(index)}") from None
        if length is None and len(header) == HEADER:
            kind = "not a TFRecord file" if index == 0 else f"record {index} is damaged"
            raise DataError(f"{path}: {unit} {offset}: {kind}: the checksum of its length does not fit; {_kept(index)}")
        if length is None or len(rest) < length + FOOTER:
            wanted = "" if length is None else f" of {HEADER + length + FOOTER}"
            raise DataError(
                f"{path}: {unit} {offset}: the file ends after {len(header) + len(rest)} bytes{wanted} of record "
                f"{index}; {_kept(index)}"
            )
        data = rest[:-FOOTER]
        is_sound = struct.unpack("<I", rest[-FOOTER:])[0] == masked_crc32c(data)
        yield RecordFrame(index=index, offset=offset, data=data if is_sound else None)
        index, offset = index + 1, offset + HEADER + length + FOOTER


def _length_of(header: bytes) -> int | None:
    """Bytes of the record behind a header; None where the header is short or does not fit its checksum."""
    if len(header) < HEADER:
        return None
    length, checksum = struct.unpack("<QI", header)
    return int(length) if checksum == masked_crc32c(header[:8]) else None


def _kept(index: int) -> str:
    return f"the {index} records before are whole; get the file anew, or write it again from them"


def find_records(folder: Path, pattern: str | None) -> list[Path]:
    """The files of one set of records, in name order.

    Args:
      folder: The data set.
      pattern: A file, a glob, or `name@10` for ten shards, below `folder`; None: every record file below it.

    Raises:
      DataError: if there is none, or a shard is missing.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (prepare.path)")
    if pattern is None:
        found = list(filter(is_record_file, list_visible(folder, "*")))
        if not found:
            raise DataError(f"{folder}: no TFRecord files (*.record*, *.tfrecord*); {describe_folder(folder)}")
    else:
        literal = folder / pattern
        wanted = re.sub(r"@(\d+)$", lambda found: f"-?????-of-{int(found[1]):05d}", pattern)
        try:
            found = [literal] if literal.is_file() else sorted(path for path in folder.glob(wanted) if path.is_file())
        except (ValueError, NotImplementedError, OSError) as error:
            raise DataError(
                f"prepare.annotations: {pattern!r} is no file and no glob below {folder}: {error}"
            ) from None
        if not found:
            raise DataError(
                f"{literal}: no such records (prepare.annotations: a file, a glob, or name@10 for ten shards); "
                f"{describe_folder(folder)}"
            )
    _check_shards(found, is_one=pattern is not None and len(found) == 1 and "*" not in pattern and "?" not in pattern)
    return found


def _check_shards(found: list[Path], *, is_one: bool) -> None:
    """Raises DataError when shards are numbered and one is missing; a single file that was named is what is meant."""
    if is_one:
        return
    groups: dict[tuple[Path, str, int], set[int]] = {}
    for path in found:
        if match := SHARD.match(path.name):
            groups.setdefault((path.parent, match[1], int(match[3])), set()).add(int(match[2]))
    for (parent, name, total), numbers in groups.items():
        missing = sorted(set(range(total)) - numbers)
        if missing:
            raise DataError(
                f"{parent / name}: {len(missing)} of {total} shards are missing, first "
                f"{name}-{missing[0]:05d}-of-{total:05d}"
            )
