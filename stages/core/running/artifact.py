"""A converted folder as something that can be run: the file is there, whole, and the one that `convert` recorded."""

from dataclasses import dataclass
from pathlib import Path

from stages.core.errors import ArtifactError
from stages.core.hashing import hash_file
from stages.core.interface import Interface, read_interface
from stages.core.results import Conversion
from stages.core.schemes import Backend

_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Artifact:
    """A model file and its contract.

    Attributes:
      path: The file.
      sha256: Of its bytes, checked.
      backend: Runtime that it is for.
      interface: What goes in and what comes out.
    """

    path: Path
    sha256: str
    backend: Backend
    interface: Interface


def read_artifact(folder: Path, conversion: Conversion) -> Artifact:
    """Checks the file of `converted/<scheme>` against its record.

    Args:
      folder: The converted folder, with the model file and interface.json.
      conversion: Its result.json; status ok.

    Raises:
      ArtifactError: if the file is missing, empty, a Git LFS pointer, truncated or another one.
    """
    if conversion.artifact is None or conversion.sha256 is None:
        raise ArtifactError(
            f"{folder / 'result.json'}: status {conversion.status} but no artifact; run `convert` again"
        )
    path = folder / conversion.artifact
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file, though result.json names it; run `convert` again")
    size = path.stat().st_size
    if size == 0:
        raise ArtifactError(f"{path}: empty file, expected {conversion.size_bytes} bytes; run `convert` again")
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise ArtifactError(f"{path}: a Git LFS pointer, not the model itself; run `git lfs pull`")
    if conversion.size_bytes is not None and size < conversion.size_bytes:
        raise ArtifactError(f"{path}: truncated: {size} bytes, expected {conversion.size_bytes}; run `convert` again")
    sha256 = hash_file(path)
    if sha256 != conversion.sha256:
        raise ArtifactError(
            f"{path}: not the file that was converted: sha256 {sha256}, expected {conversion.sha256} (result.json)"
        )
    return Artifact(path, sha256, Backend(conversion.backend), read_interface(folder))
