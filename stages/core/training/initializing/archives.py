"""Archives as model zoos publish them: unpacked whole or not at all, and never outside their folder."""

import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from stages.core.base.errors import CheckpointError

BLOCK = 1 << 20
FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""A second guard behind `_check_member`; Python has it from 3.11.4 on."""
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")


def is_archive(name: str) -> bool:
    """Whether a file of that name is one that `unpack_archive` takes."""
    return name.endswith(ARCHIVE_SUFFIXES)


def unpack_archive(archive: Path, folder: Path, source: str) -> None:
    """Unpacks files and folders of a tar archive into `folder`, which must not exist yet.

    Args:
      archive: Plain or compressed.
      folder: Made when everything is unpacked.
      source: What messages call the archive.

    Raises:
      CheckpointError: if the archive is damaged, or holds anything but files and folders below its top: links,
        devices, absolute paths and `..` are refused before the first byte is written.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _check_to_the_end(archive)
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            for member in members:
                _check_member(member, source)
            partial.mkdir(parents=True)
            tar.extractall(partial, members, **FILTER)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"init_checkpoint {source}: a damaged archive ({reason}); get it again") from None
    partial.rename(folder)


def _check_to_the_end(archive: Path) -> None:
    """Reads a gzip file as far as its checksum, which tarfile does not reach."""
    if archive.name.endswith("gz"):
        with gzip.open(archive) as file:
            while file.read(BLOCK):
                pass


def _check_member(member: tarfile.TarInfo, source: str) -> None:
    path = PurePosixPath(member.name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        fault = "leads out of the archive's folder"
    elif member.issym() or member.islnk():
        fault = f"is a link to {member.linkname}"
    elif not (member.isreg() or member.isdir()):
        fault = "is neither a file nor a folder"
    else:
        return
    raise CheckpointError(
        f"init_checkpoint {source}: an unsafe archive: {member.name} {fault}; nothing was unpacked. Only files and "
        "folders below its top are taken"
    )
