"""A brought file with everything that exporting it needs, and the contract that its graph gets."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.core.params.brought import BroughtModel
from stages.core.params.steps import ExportParams


@dataclass(frozen=True, kw_only=True, eq=False)
class BroughtSource:
    """A brought file.

    Attributes:
      name: Of the row.
      model: Its section of params.yaml.
      path: Of the file.
      labels: Category id from 1 to name, of the prepared data.
      model_labels: Class id from 1 to name, of the model.
      settings: Post-processing.
      root: The project's root, to which further paths of the section are relative.
    """

    name: str
    model: BroughtModel
    path: Path
    labels: Mapping[int, str]
    model_labels: Mapping[int, str]
    settings: ExportParams
    root: Path = Path()
