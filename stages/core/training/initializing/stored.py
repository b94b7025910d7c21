"""What a checkpoint holds, whatever its kind: variables by name, read one by one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.base.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class StoredVariables:
    """Variables of a checkpoint, opened but not read.

    Attributes:
      path: Prefix or file.
      shapes: Name to shape, without an optimizer's slots.
      read_value: Gives the value of a name, or raises whatever its library raises for a damaged file.
      epsilons: What a batch norm adds to the variance, by the name of its variance, where the checkpoint's graph says.
      structure: What the kind needs to find its way: an object graph, or the layers in their order.
      notes: What was made of the file, e.g. that averaged weights were taken.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    read_value: Callable[[str], np.ndarray]
    epsilons: Mapping[str, float] = field(default_factory=dict)
    structure: Any = None
    notes: tuple[str, ...] = ()

    def read(self, name: str) -> np.ndarray:
        """The value of a variable.

        Raises:
          CheckpointError: if the file is damaged there, or the value is not finite.
        """
        try:
            value = np.asarray(self.read_value(name))
        except Exception as error:  # RuntimeError, tf.errors, OSError, zlib.error: each library has its own
            raise damaged_checkpoint(self.path, f"{name} cannot be read: {error}") from None
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise damaged_checkpoint(self.path, f"{name} is not finite")
        return value


def damaged_checkpoint(path: Path, fault: str) -> CheckpointError:
    """The line for a checkpoint that cannot be read; names the data files where there are such."""
    shards = sorted(path.parent.glob(f"{path.name}.data-*"))
    names = ", ".join(shard.name for shard in shards[:3]) or path.name
    return CheckpointError(f"{path}: a damaged checkpoint ({names}: {' '.join(fault.split())}); nothing was loaded")
