"""From what `init_checkpoint` says (path, folder, archive, URL, name in the zoo) to a checkpoint on this machine."""

import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path, PureWindowsPath

from stages.core.base.errors import CheckpointError
from stages.core.base.hashing import hash_file, hash_value
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import RESULT_FILE
from stages.core.results.training import TrainResult
from stages.core.training.initializing.archives import ARCHIVE_SUFFIXES, is_archive, unpack_archive
from stages.core.training.initializing.downloads import TRANSPORTS, Say, explain_download, fetch_file, forget_file
from stages.core.training.initializing.zoo import ZooEntry

INDEX = ".index"
WEIGHT_FILES = (".pb", ".h5", ".hdf5", ".keras")
"""Checkpoints that are one file; all others are an index and data files."""
MAX_SHARDS = 64
SAVED_MODEL_FILE, SAVED_MODEL_VARIABLES = "saved_model.pb", "variables"


def locate_checkpoint(source: str, entry: ZooEntry | None, *, root: Path, downloads: Path, say: Say) -> Path:
    """The prefix or the file of the checkpoint that `source` names, downloaded and unpacked where need be.

    Args:
      source: Prefix (`.../ckpt-100`), file, folder or archive, or a `file:`, `http(s):` or `gs:` URL of one.
      entry: The zoo's entry, if `source` is the name of one.
      root: What a relative path starts from.
      downloads: Folder for what is downloaded or unpacked; a second call finds it there.
      say: Takes lines about the download.

    Raises:
      CheckpointError: if there is no checkpoint, more than one to choose from, or it cannot be fetched.
    """
    address = source if entry is None else entry.url
    files = "*" if entry is None else entry.files
    url = urllib.parse.urlsplit(address)
    if url.scheme in TRANSPORTS:
        path = _download(source, address, downloads / hash_value(address)[:16], say)
    elif url.scheme == "file":
        path = Path(urllib.request.url2pathname(url.path))
    else:
        path = root / address
    if path.is_file() and is_archive(path.name):
        try:
            path = _unpack(path, source, downloads)
        except CheckpointError:
            if url.scheme in TRANSPORTS:
                forget_file(path)  # or every later run would find the same broken file
            raise
    return find_checkpoint(path, source, files)


def find_checkpoint(path: Path, source: str, files: str = "*") -> Path:
    """The one checkpoint at a prefix, in a file, or in a folder.

    Args:
      files: Pattern of the paths below a folder that come into question.
    """
    if path.is_dir():
        return _find_in_folder(path, source, files)
    if path.suffix in WEIGHT_FILES and path.is_file():
        return path
    prefix = path.with_name(path.name.removesuffix(INDEX).removesuffix(".meta").split(".data-")[0])
    if prefix.with_name(prefix.name + INDEX).is_file():
        if not list(prefix.parent.glob(f"{prefix.name}.data-*")):
            raise CheckpointError(f"init_checkpoint {source}: no data file {prefix.name}.data-* beside its index")
        return prefix
    if path.is_file():
        known = ", ".join((*WEIGHT_FILES, *ARCHIVE_SUFFIXES))
        raise CheckpointError(
            f"init_checkpoint {source}: {path.name} is no known kind of checkpoint ({known}, or the prefix of a "
            "TensorFlow checkpoint)"
        )
    raise CheckpointError(f"init_checkpoint {source}: no such checkpoint (looked for {prefix}{INDEX})")


def _find_in_folder(folder: Path, source: str, files: str) -> Path:
    if (folder / RESULT_FILE).is_file():
        return folder / read_json(TrainResult, folder / RESULT_FILE).checkpoint
    for list_candidates in _SEARCHES:
        found = [path for path in list_candidates(folder) if path.relative_to(folder).match(files) or files == "*"]
        if len(found) > 1:
            found = _newest(folder, found)
        if len(found) == 1:
            return find_checkpoint(found[0], source)
        if found:
            names = ", ".join(str(path.relative_to(folder)).removesuffix(INDEX) for path in found[:5])
            raise CheckpointError(
                f"init_checkpoint {source}: expected one checkpoint in the folder, found {names}; name one of them"
            )
    wanted = "" if files == "*" else f" like {files}"
    raise CheckpointError(f"init_checkpoint {source}: expected one checkpoint{wanted} in the folder, found none")


def _newest(folder: Path, found: Sequence[Path]) -> list[Path]:
    """The one that TensorFlow's state file calls the latest; all of them where there is no such file."""
    state = folder / "checkpoint"
    if not state.is_file():
        return list(found)
    # Written on another machine, it may hold absolute paths, and separators of the other kind.
    newest = PureWindowsPath(state.read_text().partition('"')[2].partition('"')[0]).name + INDEX
    return [path for path in found if path.name == newest and path.parent == folder] or list(found)


def _plain_indexes(folder: Path) -> list[Path]:
    found = sorted(folder.rglob(f"*{INDEX}"))
    return [path for path in found if path.parent.name != SAVED_MODEL_VARIABLES]


def _saved_model_indexes(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob(f"*{INDEX}")) if path.parent.name == SAVED_MODEL_VARIABLES]


def _single_files(folder: Path) -> list[Path]:
    found = [path for suffix in WEIGHT_FILES for path in sorted(folder.rglob(f"*{suffix}"))]
    return [path for path in found if path.name != SAVED_MODEL_FILE]


_SEARCHES: tuple[Callable[[Path], list[Path]], ...] = (_plain_indexes, _saved_model_indexes, _single_files)
"""Where there are several kinds in a folder, as in the archives of the zoos, the first that is there is taken."""


def _unpack(archive: Path, source: str, downloads: Path) -> Path:
    """Folder of an archive's content, named after its hash: a changed archive is unpacked anew."""
    folder = downloads / f"unpacked-{hash_file(archive)[:16]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        unpack_archive(archive, folder, source)
    return folder


def _download(source: str, url: str, folder: Path, say: Say) -> Path:
    """The file at a URL, or the prefix of a checkpoint's files, on this machine."""
    name = Path(urllib.parse.urlsplit(url).path).name
    path = folder / name
    try:
        if is_archive(name) or Path(name).suffix in WEIGHT_FILES:
            fetch_file(url, path, say)
            return path
        prefix = url.removesuffix(INDEX)
        path = folder / name.removesuffix(INDEX)
        fetch_file(prefix + INDEX, path.with_name(path.name + INDEX), say)
        _download_shards(prefix, path, say)
    except OSError as error:
        raise explain_download(source, error, path) from None
    return path


def _download_shards(url: str, prefix: Path, say: Say) -> None:
    """Fetches the data files. How many there are stands in their names only, so the first is looked for."""
    there = sorted(prefix.parent.glob(f"{prefix.name}.data-00000-of-?????"))
    totals = [int(path.name[-5:]) for path in there] or range(1, MAX_SHARDS + 1)
    for total in totals:
        suffixes = [f".data-{shard:05}-of-{total:05}" for shard in range(total)]
        try:
            fetch_file(url + suffixes[0], prefix.with_name(prefix.name + suffixes[0]), say)
        except FileNotFoundError:
            continue
        for suffix in suffixes[1:]:
            fetch_file(url + suffix, prefix.with_name(prefix.name + suffix), say)
        return
    raise FileNotFoundError(f"no data file {prefix.name}.data-00000-of-* beside the index")
