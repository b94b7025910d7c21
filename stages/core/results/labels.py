"""The label file of a model, for clients that know no JSON: one class name a line."""

from pathlib import Path

from stages.core.base.layout import LABEL_LIST_FILE
from stages.core.results.interface import Interface

NO_CLASS = "???"
"""A line that no class belongs to; MediaPipe and the Task Library leave such classes out."""


def label_list(interface: Interface) -> str:
    """Line n, from 0, names the class for which the output `detection_classes` holds n."""
    names = {int(key) - interface.class_offset: " ".join(name.split()) for key, name in interface.labels.items()}
    return "".join(f"{names.get(line, NO_CLASS)}\n" for line in range(max(names) + 1))


def write_label_list(interface: Interface, folder: Path) -> None:
    """Writes labels.txt beside a model file, in UTF-8."""
    (folder / LABEL_LIST_FILE).write_text(label_list(interface), encoding="utf-8")
