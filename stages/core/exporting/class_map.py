"""The classes of somebody else's model beside those of the data: which of its classes is which category."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.core.base.errors import ArtifactError, DataError
from stages.core.graphs.attached import read_attached
from stages.core.tfod.label_map import read_label_map

NO_CLASS = "???"
"""What label files write for an id without a class."""


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """The model's classes beside the data's categories.

    Attributes:
      category_ids: For each class of the model, from the first after the background, the category id of the data; 0
        where the data has no such class.
      unknown: Categories that the model does not know.
      unused: How many classes of the model the data does not have.
    """

    category_ids: tuple[int, ...]
    unknown: tuple[str, ...] = ()
    unused: int = 0

    @property
    def is_identity(self) -> bool:
        """Whether class indices are category ids less one."""
        return self.category_ids == tuple(range(1, len(self.category_ids) + 1))


def read_model_labels(labels: str | Sequence[str] | None, root: Path, *, model: Path) -> dict[int, str]:
    """Class id from 1 to name.

    Args:
      labels: As `BroughtModel.labels`.
      root: What a file's path is relative to.
      model: The .tflite file that they are attached to where none are stated.

    Raises:
      ArtifactError: if a text file is missing or empty, or has a name twice.
      ForeignConfigError: if a label map is missing or wrong.
    """
    if labels is None:
        attached, _ = read_attached(model)
        if not attached:
            raise ArtifactError(f"{model}: no labels are attached to it: state them (`labels`)")
        return _number(attached, str(model))
    if not isinstance(labels, str):
        return _number(labels, "brought.labels")
    path = root / labels
    if path.suffix == ".pbtxt":
        return read_label_map(path)
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: not a readable label file ({type(error).__name__}); one name a line") from None
    while lines and not lines[-1]:
        lines.pop()
    if not any(lines):
        raise ArtifactError(f"{path}: no labels, expected one name a line")
    return _number(lines, str(path))


def _number(names: Sequence[str], where: str) -> dict[int, str]:
    # A first line that stands for the background is id 0 in such files.
    first = 0 if names[0].casefold() in (NO_CLASS, "background", "__background__") else 1
    labels = {first + index: name for index, name in enumerate(names) if name and name != NO_CLASS}
    labels.pop(0, None)
    twice = next((name for name in labels.values() if list(labels.values()).count(name) > 1), None)
    if twice is not None:
        raise ArtifactError(f"{where}: label {twice!r} is there twice")
    return labels


def match_labels(model: Mapping[int, str], data: Mapping[int, str], *, num_classes: int, where: str) -> ClassMap:
    """Finds each class of the model among the data's categories, by name without regard to case.

    Args:
      model: Class id from 1 to name, of the model.
      data: Category id from 1 to name, of the prepared data.
      num_classes: How many classes the model's outputs have, the background left out.
      where: What messages call the model.

    Raises:
      ArtifactError: if the labels do not fit the number of classes.
      DataError: if model and data have no class in common.
    """
    if not model or max(model) > num_classes:
        raise ArtifactError(
            f"{where}: labels go up to id {max(model, default=0)}, but the outputs have {num_classes} classes besides "
            f"the background: expected ids 1 to {num_classes}"
        )
    by_name = {name.strip().casefold(): key for key, name in data.items()}
    found = tuple(by_name.get(model.get(key, NO_CLASS).strip().casefold(), 0) for key in range(1, num_classes + 1))
    if not any(found):
        raise DataError(
            f"{where}: none of its classes ({', '.join(list(model.values())[:8])}) is a class of the data "
            f"({', '.join(data.values())}); `labels` names the model's classes as the data does"
        )
    return ClassMap(
        category_ids=found,
        unknown=tuple(name for key, name in sorted(data.items()) if key not in found),
        unused=sum(found[key - 1] == 0 for key in model),
    )
