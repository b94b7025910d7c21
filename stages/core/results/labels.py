"""The label file of a model, for clients that know no JSON: one class name a line."""

from pathlib import Path

from stages.core.base.layout import LABEL_LIST_FILE
from stages.core.results.interface import Interface

NO_CLASS = "???"
"""A line that no class belongs to; MediaPipe and the Task Library leave such classes out."""


def label_list(interface: Interface) -> str:
    """Line n, from 0, names the class for which the output `detection_classes` holds n."""
    names = {int(key): " ".join(name.split()) for key, name in interface.labels.items()}
    categories = interface.class_map or range(interface.class_offset, max(names) + 1)
    return "".join(f"{names.get(category, NO_CLASS)}\n" for category in categories)


def write_label_list(interface: Interface, folder: Path) -> None:
    """Writes labels.txt beside a model file, in UTF-8."""
    (folder / LABEL_LIST_FILE).write_text(label_list(interface), encoding="utf-8")
