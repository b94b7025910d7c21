"""Files that TFLite metadata attaches to a .tflite file: a zip archive behind the flatbuffer."""

import zipfile
from pathlib import Path


def read_attached(path: Path) -> tuple[list[str], list[str]]:
    """Label lines, and the names of all attached files; both empty where there are none."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return [], []
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        chosen = next((name for name in names if "label" in name.lower() and name.endswith(".txt")), None)
        lines = archive.read(chosen).decode(errors="replace").splitlines() if chosen else []
    lines = [line.strip() for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return lines, names
