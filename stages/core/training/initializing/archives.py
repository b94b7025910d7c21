"""Archives as model zoos publish them: unpacked whole or not at all, and never outside their folder."""

import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from stages.core.base.errors import CheckpointError

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
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            for member in members:
                _check_member(member, source)
            partial.mkdir(parents=True)
            tar.extractall(partial, members, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"init_checkpoint {source}: a damaged archive ({reason}); get it again") from None
    partial.rename(folder)


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
