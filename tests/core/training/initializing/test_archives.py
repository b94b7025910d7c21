"""Archives: whole or not at all, and never outside their folder."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.core.base.errors import CheckpointError
from stages.core.training.initializing.archives import unpack_archive
from stages.core.training.initializing.locating import locate_checkpoint

Change = Callable[[tarfile.TarInfo], None]


def link_to(target: str, kind: bytes) -> Change:
    def change(member: tarfile.TarInfo) -> None:
        member.type, member.linkname, member.size = kind, target, 0

    return change


def named(name: str) -> Change:
    def change(member: tarfile.TarInfo) -> None:
        member.name = name

    return change


UNSAFE: dict[str, tuple[Change, str]] = {
    "parent": (named("../escaped"), r"\.\./escaped leads out"),
    "parent-inside": (named("a/../../escaped"), "leads out"),
    "absolute": (named("/tmp/escaped"), "leads out"),
    "backslashes": (named("..\\escaped"), "leads out"),
    "symlink": (link_to("/etc/passwd", tarfile.SYMTYPE), "is a link to /etc/passwd"),
    "hard-link": (link_to("ckpt.index", tarfile.LNKTYPE), "is a link to ckpt.index"),
    "device": (link_to("", tarfile.CHRTYPE), "is neither a file nor a folder"),
    "pipe": (link_to("", tarfile.FIFOTYPE), "is neither a file nor a folder"),
}


def write_archive(path: Path, change: Change = lambda member: None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in ("model/ckpt.index", "model/ckpt.data-00000-of-00001", "model/last"):
            member = tarfile.TarInfo(name)
            member.size = 4
            if name.endswith("last"):
                change(member)
            tar.addfile(member, io.BytesIO(b"data"[: member.size]))
    return path


@pytest.mark.parametrize("case", UNSAFE)
def test_unsafe_members_are_refused_before_anything_is_written(case: str, tmp_path: Path) -> None:
    change, says = UNSAFE[case]
    archive = write_archive(tmp_path / "zoo.tar.gz", change)
    with pytest.raises(CheckpointError, match=f"unsafe archive: .*{says}.*nothing was unpacked") as caught:
        unpack_archive(archive, tmp_path / "out", "zoo.tar.gz")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["zoo.tar.gz"]


@pytest.mark.parametrize("keep", [0.5, 0.95, 0.0])
def test_a_truncated_archive_leaves_nothing(keep: float, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "zoo.tar.gz")
    archive.write_bytes(archive.read_bytes()[: int(keep * archive.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"a damaged archive .*get it again"):
        unpack_archive(archive, tmp_path / "out", "zoo.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["zoo.tar.gz"]


def test_a_changed_archive_is_unpacked_anew(tmp_path: Path) -> None:
    def locate() -> Path:
        return locate_checkpoint("zoo.tar.gz", None, root=tmp_path, downloads=tmp_path / "d", say=lambda text: None)

    write_archive(tmp_path / "zoo.tar.gz")
    first = locate()
    assert (first.name, first.with_name("ckpt.index").read_bytes()) == ("ckpt", b"data")
    assert locate() == first
    write_archive(tmp_path / "zoo.tar.gz", named("model/other"))
    assert locate() != first
