"""A converted folder as something that can be run: the file is there, whole, and the one that `convert` recorded."""

from dataclasses import dataclass
from pathlib import Path

from stages.core.base.errors import ArtifactError
from stages.core.base.hashing import hash_files
from stages.core.base.layout import RESULT_FILE
from stages.core.results.conversion import Conversion
from stages.core.results.interface import Interface, read_interface
from stages.core.results.kinds import Backend

_LFS_POINTER = b"version https://git-lfs"


class DamagedFileError(ArtifactError):
    """A file of an artifact is missing or not whole: that row is lost, not the run."""


@dataclass(frozen=True)
class Artifact:
    """A model file and its contract.

    Attributes:
      files: The model file, then its companions (an IR's weights).
      sha256: Of its bytes, checked.
      backend: Runtime that it is for.
      interface: What goes in and what comes out.
    """

    files: tuple[Path, ...]
    sha256: str
    backend: Backend
    interface: Interface

    @property
    def path(self) -> Path:
        """The model file."""
        return self.files[0]

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files)


def read_artifact(folder: Path, conversion: Conversion) -> Artifact:
    """Checks the file of `converted/<scheme>` against its record.

    Args:
      folder: The converted folder, with the model file and interface.json.
      conversion: Its result.json; status ok.

    Raises:
      ArtifactError: if the file is missing, empty, a Git LFS pointer, truncated or another one.
    """
    if conversion.artifact is None or conversion.sha256 is None:
        raise ArtifactError(f"{folder / RESULT_FILE}: status {conversion.status} but no artifact; run `convert` again")
    files = tuple(folder / name for name in (conversion.artifact, *conversion.companions))
    for path in files:
        _check_file(path)
    size = sum(path.stat().st_size for path in files)
    names = " + ".join(map(str, files))
    if conversion.size_bytes is not None and size < conversion.size_bytes:
        raise DamagedFileError(
            f"{names}: truncated: {size} bytes, expected {conversion.size_bytes}; run `convert` again"
        )
    sha256 = hash_files(files)
    if sha256 != conversion.sha256:
        raise ArtifactError(
            f"{names}: not the file that was converted: sha256 {sha256}, expected {conversion.sha256} (result.json)"
        )
    return Artifact(files, sha256, Backend(conversion.backend), read_interface(folder))


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise DamagedFileError(f"{path}: no such file, though result.json names it; run `convert` again")
    if path.stat().st_size == 0:
        raise DamagedFileError(f"{path}: empty file, expected a model's bytes; run `convert` again")
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise DamagedFileError(f"{path}: a Git LFS pointer, expected the model itself; run `git lfs pull`")
