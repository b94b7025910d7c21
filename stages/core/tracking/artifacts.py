"""Files of a run: each is sent once, and again when it has changed."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import mlflow

from stages.core.base.hashing import hash_file, hash_value

FILES_TAG = "published_files_sha256"
"""Tag with the beginning of each file's or folder's hash, as JSON."""
HASH_LENGTH = 12


def send_artifacts(
    client: mlflow.MlflowClient,
    run_id: str,
    tags: Mapping[str, str],
    artifacts: Sequence[tuple[Path, str]],
    progress: Callable[[int], None],
) -> None:
    """Sends the files and folders that the run does not have yet as they are now.

    Args:
      tags: The run's.
      artifacts: Local file or folder, and the folder it goes to.
      progress: Called before each with its size in bytes, and with 0 at the end.
    """
    sent = _read_sent(tags.get(FILES_TAG, ""))
    hashes = {f"{folder}/{path.name}": hash_artifact(path) for path, folder in artifacts}
    if sent == hashes:
        return
    for path, folder in artifacts:
        if sent.get(f"{folder}/{path.name}") == hashes[f"{folder}/{path.name}"]:
            continue
        progress(count_bytes(path))
        if path.is_dir():
            client.log_artifacts(run_id, str(path), f"{folder}/{path.name}")
        else:
            client.log_artifact(run_id, str(path), folder)
    client.set_tag(run_id, FILES_TAG, json.dumps(hashes))
    progress(0)


def _read_sent(tag: str) -> dict[str, str]:
    """What the tag says; nothing where it says something else, as after earlier versions."""
    try:
        found = json.loads(tag)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def hash_artifact(path: Path) -> str:
    """Beginning of the sha256 of a file, or of the names and hashes of all files in a folder."""
    if path.is_file():
        return hash_file(path)[:HASH_LENGTH]
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return hash_value([[file.relative_to(path).as_posix(), hash_file(file)] for file in files])[:HASH_LENGTH]


def count_bytes(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())
