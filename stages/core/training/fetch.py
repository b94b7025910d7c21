"""Where an init checkpoint comes from: a path, a folder (also our own `trained/`), or a URL."""

import shutil
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path, PureWindowsPath

from stages.core.base.errors import CheckpointError
from stages.core.base.hashing import hash_value
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import RESULT_FILE
from stages.core.results.training import TrainResult

ARCHIVES = (".tar.gz", ".tgz", ".tar")
DOWNLOAD_TIMEOUT_S = 30
MAX_SHARDS = 64
Say = Callable[[str], None]


def fetch_checkpoint(source: str, *, root: Path, downloads: Path, say: Say) -> Path:
    """Prefix of the checkpoint that `source` names, downloaded where it is a URL.

    Args:
      source: Prefix (`.../ckpt-100`), one of its files, a folder, or a `file:`, `http(s):` or `gs:` URL of a prefix or
        of a .tar.gz that holds one.
      root: What a relative path starts from.
      downloads: Folder for what is downloaded; a second call finds it there.
      say: Takes lines about the download.

    Raises:
      CheckpointError: if there is no checkpoint, or more than one to choose from.
    """
    url = urllib.parse.urlsplit(source)
    if url.scheme == "file":
        return find_checkpoint(Path(urllib.request.url2pathname(url.path)), source)
    if url.scheme in DOWNLOADERS:
        return _download(source, downloads / hash_value(source)[:16], DOWNLOADERS[url.scheme], say)
    return find_checkpoint(root / source, source)


def find_checkpoint(path: Path, source: str) -> Path:
    """The one checkpoint at a prefix or in a folder."""
    if path.is_dir():
        return _find_in_folder(path, source)
    prefix = path.with_name(path.name.removesuffix(".index").split(".data-")[0])
    if prefix.with_name(prefix.name + ".index").is_file():
        return prefix
    raise CheckpointError(f"init_checkpoint {source}: no such checkpoint (looked for {prefix}.index)")


def _find_in_folder(folder: Path, source: str) -> Path:
    if (folder / RESULT_FILE).is_file():
        return folder / read_json(TrainResult, folder / RESULT_FILE).checkpoint
    found = sorted(file.with_suffix("") for file in folder.rglob("*.index"))
    state = folder / "checkpoint"
    if len(found) > 1 and state.is_file():
        # Written on another machine, it may hold absolute paths, and separators of the other kind.
        newest = state.read_text().partition('"')[2].partition('"')[0]
        found = [prefix for prefix in found if prefix.name == PureWindowsPath(newest).name and prefix.parent == folder]
    if len(found) != 1:
        names = ", ".join(prefix.name for prefix in found[:5]) or "none"
        raise CheckpointError(f"init_checkpoint {source}: expected one checkpoint in the folder, found {names}")
    return found[0]


def _download(source: str, folder: Path, open_url: Callable[[str, Path, Say], None], say: Say) -> Path:
    done = folder / "complete"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            _download_files(source, folder, open_url, say)
        except (OSError, tarfile.TarError) as error:
            raise CheckpointError(f"init_checkpoint {source}: cannot be downloaded ({error})") from None
        done.touch()
    return _find_in_folder(folder, source)


def _download_files(source: str, folder: Path, open_url: Callable[[str, Path, Say], None], say: Say) -> None:
    name = Path(urllib.parse.urlsplit(source).path).name
    if name.endswith(ARCHIVES):
        open_url(source, folder / name, say)
        with tarfile.open(folder / name) as archive:
            archive.extractall(folder, filter="data")
        return
    source, name = source.removesuffix(".index"), name.removesuffix(".index")
    open_url(f"{source}.index", folder / f"{name}.index", say)
    _download_shards(source, folder / name, open_url, say)


def _download_shards(source: str, prefix: Path, open_url: Callable[[str, Path, Say], None], say: Say) -> None:
    """Fetches the data files. How many there are stands in their names only, so the first is looked for."""
    for total in range(1, MAX_SHARDS + 1):
        suffixes = [f".data-{shard:05}-of-{total:05}" for shard in range(total)]
        try:
            open_url(source + suffixes[0], Path(f"{prefix}{suffixes[0]}"), say)
        except FileNotFoundError:
            continue
        for suffix in suffixes[1:]:
            open_url(source + suffix, Path(f"{prefix}{suffix}"), say)
        return
    raise FileNotFoundError(f"no data file {Path(prefix).name}.data-00000-of-* beside the index")


def _get_http(url: str, path: Path, say: Say) -> None:
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_S) as response, path.open("wb") as file:
            size = int(response.headers.get("Content-Length") or 0)
            say(f"downloading {url} ({size / 1e6:.1f} MB)")
            _copy(response, file, size, say)
    except urllib.error.HTTPError as error:
        path.unlink(missing_ok=True)
        if error.code == 404:
            raise FileNotFoundError(f"404 for {url}") from None
        raise
    if size and path.stat().st_size != size:
        raise OSError(f"{url}: got {path.stat().st_size} of {size} bytes")


def _copy(response: object, file: object, size: int, say: Say) -> None:
    """Copies in blocks and says every fifth of a large file."""
    done, next_note = 0, 0.2
    while block := response.read(1 << 20):  # type: ignore[attr-defined]
        file.write(block)  # type: ignore[attr-defined]
        done += len(block)
        if size > 10e6 and done / size >= next_note:
            say(f"  {100 * done / size:.0f} %")
            next_note += 0.2


def _get_bucket(url: str, path: Path, say: Say) -> None:
    import tensorflow as tf

    if not tf.io.gfile.exists(url):
        raise FileNotFoundError(url)
    say(f"copying {url}")
    tf.io.gfile.copy(url, str(path), overwrite=True)


DOWNLOADERS: dict[str, Callable[[str, Path, Say], None]] = {"http": _get_http, "https": _get_http, "gs": _get_bucket}
