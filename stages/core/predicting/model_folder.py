"""A converted folder wherever it is, or a model file in it, as something that can be run."""

from pathlib import Path

from stages.core.base.errors import ArtifactError
from stages.core.base.hashing import hash_files
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import INTERFACE_FILE, MODEL_FILES, RESULT_FILE
from stages.core.results.conversion import Conversion
from stages.core.results.interface import read_interface
from stages.core.results.kinds import Backend
from stages.core.results.status import Status
from stages.core.running.artifact import Artifact, read_artifact

FLOAT_SCHEME = "float32"
"""The scheme whose file stands for the float model: the trained weights in 32-bit floats, in every runtime's reach."""


def open_model(source: Path) -> Artifact:
    """The artifact of `models/converted/<model>/<scheme>`, of a copy of such a folder, or of a model file in one.

    Where result.json is beside it, the bytes must be those that `convert` recorded.

    Raises:
      ArtifactError: if there is no model, no interface.json beside it, or not what its record says.
    """
    folder = source if source.is_dir() else source.parent
    if not source.exists():
        raise ArtifactError(f"{source}: no such model{_list_models(source)}")
    if not (folder / INTERFACE_FILE).is_file():
        raise ArtifactError(
            f"{source}: no {INTERFACE_FILE} beside the model, so its input and the layout of its outputs are unknown; "
            "a folder that `convert` wrote holds one (copy all of it)"
        )
    if (folder / RESULT_FILE).is_file():
        conversion = read_json(Conversion, folder / RESULT_FILE)
        if source.is_dir() and conversion.status is not Status.OK:
            raise ArtifactError(f"{folder}: no model to run: {conversion.status}: {conversion.reason}")
        if source.is_dir() or source.name == conversion.artifact:
            return read_artifact(folder, conversion)
    if source.is_file():
        return _open_file(source)
    for names in MODEL_FILES.values():
        if (folder / names[0]).is_file():
            return _open_file(folder / names[0])
    known = " or ".join(" with ".join(names) for names in MODEL_FILES.values())
    raise ArtifactError(f"{folder}: no model file, expected {known}")


def find_float(artifact: Artifact) -> Path:
    """Folder of the float model beside a converted one.

    Raises:
      ArtifactError: if it is not there.
    """
    folder = artifact.path.parent.resolve().parent / FLOAT_SCHEME
    if not folder.is_dir():
        raise ArtifactError(
            f"{folder}: no such folder, so there is no float model to show; convert the scheme {FLOAT_SCHEME}, copy "
            "its folder beside this one, or name it with --float-model"
        )
    return folder


def _open_file(path: Path) -> Artifact:
    for backend, names in MODEL_FILES.items():
        if path.suffix == Path(names[0]).suffix:
            files = (path, *(path.with_suffix(Path(name).suffix) for name in names[1:]))
            for file in files:
                if not file.is_file():
                    raise ArtifactError(f"{file}: no such file; {path.name} and {file.name} are one model")
            return Artifact(files, hash_files(files), Backend(backend), read_interface(path.parent))
    suffixes = ", ".join(Path(names[0]).suffix for names in MODEL_FILES.values())
    raise ArtifactError(f"{path}: not a model file, expected one of {suffixes}, or the folder that holds it")


def _list_models(source: Path) -> str:
    """What is in the nearest folder that exists, for a message."""
    folder = next(parent for parent in source.absolute().parents if parent.is_dir())
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return f"; {folder} holds {', '.join(names[:8])}" if names and folder != Path.cwd() else ""
