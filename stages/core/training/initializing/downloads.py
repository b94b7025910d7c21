"""Files from the network: fetched once, taken up where a broken transfer stopped, and checked at every use."""

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.base.errors import CheckpointError
from stages.core.base.hashing import hash_file
from stages.core.base.jsonfile import read_json, write_json

TIMEOUT_S = 30
ATTEMPTS = 3
"""Tries at a transfer that breaks off; each goes on where the last one stopped."""
PAUSE_S = 1.0
BLOCK = 1 << 20
PARTIAL = 206
NOT_SATISFIABLE = 416
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Download:
    """What is known of a fetched file, kept beside it as `download-<name>.json`.

    Attributes:
      url: Where it came from.
      bytes: Its size.
      sha256: Its hash at first use; every later use compares.
    """

    url: str
    bytes: int
    sha256: str


def fetch_file(url: str, path: Path, say: Say) -> None:
    """Makes `path` the file at `url`, fetching it unless it is there already.

    A transfer that breaks off is taken up again, in this call and in the next one, where the server allows that. A file
    that no longer has the size and hash of its first use is fetched again.

    Args:
      url: `http:`, `https:` or `gs:`.
      say: Takes lines about the transfer.

    Raises:
      FileNotFoundError: if the server has no such file.
      OSError: if it cannot be fetched; what has arrived is kept for the next call.
    """
    note = _note_of(path)
    if path.is_file() and note.is_file():
        known = read_json(Download, note)
        if (path.stat().st_size, hash_file(path)) == (known.bytes, known.sha256):
            return
        say(f"{path}: not the file that was fetched (size or sha256 differs): fetching it again")
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial_of(path)
    TRANSPORTS[urllib.parse.urlsplit(url).scheme](url, partial, say)
    partial.replace(path)
    write_json(Download(url=url, bytes=path.stat().st_size, sha256=hash_file(path)), note)


def forget_file(path: Path) -> None:
    """Removes a fetched file, so that the next call fetches it again."""
    path.unlink(missing_ok=True)
    _note_of(path).unlink(missing_ok=True)


def explain_download(source: str, error: OSError, path: Path) -> CheckpointError:
    """The line for a download that failed; `path` is where the file would be."""
    reason = getattr(error, "reason", None) or error
    offline = isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError)
    advice = "; there may be no network: fetch it elsewhere and set init_checkpoint to its path" if offline else ""
    started = _partial_of(path)
    kept = f"; {started.stat().st_size} bytes are kept, the next run goes on from there" if started.is_file() else ""
    return CheckpointError(f"init_checkpoint {source}: cannot be downloaded ({reason}){advice}{kept}")


def _note_of(path: Path) -> Path:
    return path.with_name(f"download-{path.name}.json")


def _partial_of(path: Path) -> Path:
    return path.with_name(f"download-{path.name}.part")


def _get_http(url: str, partial: Path, say: Say) -> None:
    for attempt in range(ATTEMPTS):
        try:
            _go_on(url, partial, say)
            return
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise FileNotFoundError(f"404 for {url}") from None
            raise
        except urllib.error.URLError:
            raise  # nobody there: trying again would only take long
        except OSError as error:
            if attempt + 1 == ATTEMPTS:
                raise
            say(f"  broke off ({error}): trying again")
            time.sleep(PAUSE_S)


def _go_on(url: str, partial: Path, say: Say) -> None:
    """Fetches what is missing of a file; all of it where the server's file is another one, or knows no ranges."""
    have, tag_file = partial.stat().st_size if partial.is_file() else 0, partial.with_name(f"{partial.name}.tag")
    tag = json.loads(tag_file.read_text()) if tag_file.is_file() else None
    headers = {"Range": f"bytes={have}-", "If-Range": tag} if have and tag else {}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != NOT_SATISFIABLE:
            raise
        partial.unlink()
        response = urllib.request.urlopen(url, timeout=TIMEOUT_S)
    with response:
        have = have if response.status == PARTIAL else 0
        size = have + int(response.headers.get("Content-Length") or 0)
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if tag:
            tag_file.write_text(json.dumps(tag))
        goes_on = f", from {have / 1e6:.1f} MB on" if have else ""
        say(f"downloading {url} ({size / 1e6:.1f} MB{goes_on})")
        with partial.open("ab" if have else "wb") as file:
            _copy(response, file, have, size, say)
    if size and partial.stat().st_size != size:
        raise OSError(f"got {partial.stat().st_size} of {size} bytes")
    tag_file.unlink(missing_ok=True)


def _copy(response: Any, file: Any, done: int, size: int, say: Say) -> None:
    """Copies in blocks and says every fifth of a large file."""
    next_note = 0.2 * (1 + int(5 * done / size)) if size else 0.0
    while block := _read_block(response):
        file.write(block)
        done += len(block)
        if size > 10e6 and done / size >= next_note:
            say(f"  {100 * done / size:.0f} %")
            next_note += 0.2


def _read_block(response: Any) -> bytes:
    try:
        return bytes(response.read(BLOCK))
    except http.client.HTTPException as error:
        raise OSError(f"the connection broke off: {error!r}") from None


def _get_bucket(url: str, partial: Path, say: Say) -> None:
    import tensorflow as tf

    try:
        if not tf.io.gfile.exists(url):
            raise FileNotFoundError(url)
        say(f"copying {url}")
        tf.io.gfile.copy(url, str(partial), overwrite=True)
    except tf.errors.OpError as error:
        raise OSError(" ".join(str(error.message).split())) from None


TRANSPORTS: dict[str, Callable[[str, Path, Say], None]] = {"http": _get_http, "https": _get_http, "gs": _get_bucket}
