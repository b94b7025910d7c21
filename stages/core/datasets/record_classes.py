"""Which class the objects of TFRecords have: by number, by text, and by a label map that ties both."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from stages.core.base.errors import DataError, ForeignConfigError
from stages.core.datasets.data_files import list_visible
from stages.core.tfod.label_map import read_label_map

SHOWN = 6


@dataclass(kw_only=True)
class RecordClasses:
    """Collects what records say of their classes, and gives each object its name in the end.

    Attributes:
      where: The label map, for messages; None where there is none.
      names: Label to name; without a label map, as the records have it.
      labels: Text to label, with a label map: `name` and `display_name` alike.
    """

    where: Path | None = None
    names: dict[int, str] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    _texts: set[str] = field(default_factory=set)

    def see(self, label: int | None, text: str, where: str) -> None:
        """Takes note of one object's class.

        Args:
          where: File, record and offset, for messages.

        Raises:
          DataError: if the map does not hold it, or label and text do not mean the same class.
        """
        if self.where is not None:
            self._look_up(label, text, where)
        elif text and label is not None:
            known = self.names.setdefault(label, text)
            other = self.labels.setdefault(text, label)
            if known != text or other != label:
                raise DataError(
                    f"{where}: class/label {label} is {text!r}, other records say {other} {known!r}; "
                    "name the label map with prepare.label_map, or write the records anew"
                )
        elif text:
            self._texts.add(text)

    def _look_up(self, label: int | None, text: str, where: str) -> None:
        known = ", ".join(f"{key} {name!r}" for key, name in list(self.names.items())[:SHOWN])
        known += f" and {len(self.names) - SHOWN} more" if len(self.names) > SHOWN else ""
        if label is not None and label not in self.names:
            raise DataError(
                f"{where}: class/label {label}{f' ({text!r})' * bool(text)} is not in {self.where} ({known})"
            )
        if text and text not in self.labels:
            raise DataError(f"{where}: class/text {text!r} is not in {self.where} ({known})")
        if text and label is not None and self.labels[text] != label:
            raise DataError(
                f"{where}: class/label {label} is {self.names[label]!r} in {self.where}, class/text says {text!r}"
            )

    def name(self, label: int | None, text: str, where: str) -> str:
        """The name of a class that was seen; empty for an object without one.

        Raises:
          DataError: if there is but a number, and nothing says what it stands for.
        """
        if self.where is not None:
            return self.names[self.labels[text] if label is None else label] if text or label is not None else ""
        if text or label is None:
            return text
        if label not in self.names:
            raise DataError(
                f"{where}: class/label {label} has no name: no class/text in the records and no label map; "
                "name the .pbtxt file with prepare.label_map"
            )
        return self.names[label]

    def all(self) -> list[str]:
        """Every class: in the order of the map or of the records' numbers, then those without a number."""
        ordered = [self.names[label] for label in sorted(self.names)]
        return ordered + sorted(self._texts - set(ordered))


def load_classes(folder: Path, label_map: str | None) -> RecordClasses:
    """With the label map that is named, or that is the only one below the data set; else without.

    Raises:
      DataError: if it is missing, there are several, or a text stands for two classes.
      ForeignConfigError: if it is damaged: docs/from-the-object-detection-api.md.
    """
    if label_map is None:
        found = list_visible(folder, "*.pbtxt")
        if not found:
            return RecordClasses()
        if len(found) > 1:
            listed = ", ".join(str(path.relative_to(folder)) for path in found[:SHOWN])
            raise DataError(f"{folder}: several label maps ({listed}); say which with prepare.label_map")
        path = found[0]
    else:
        path = folder / label_map
    names = read_label_map(path)
    plain: Mapping[int, str] = {}
    with suppress(ForeignConfigError):  # items with a display name alone
        plain = read_label_map(path, display_names=False)
    labels: dict[str, int] = {}
    for key, text in (*names.items(), *plain.items()):
        if labels.setdefault(text, key) != key:
            raise DataError(f"{path}: {text!r} stands for the ids {labels[text]} and {key}")
    return RecordClasses(where=path, names=names, labels=labels)
