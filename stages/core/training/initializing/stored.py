"""What a checkpoint holds, whatever its kind: variables by name, read one by one."""

import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.base.errors import CheckpointError
from stages.core.base.plain_paths import plain_path


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


class CheckpointFile:
    """A TensorFlow checkpoint, TF1 or TF2, below a folder of any name.

    TensorFlow's reader takes a path for a pattern, and opens data files when their first value is read: the plain name
    that it was given lasts as long as this object.
    """

    def __init__(self, prefix: Path):
        """Raises whatever TensorFlow raises, RuntimeError and various tf.errors, if there is no readable index."""
        opened = ExitStack()
        folder = opened.enter_context(plain_path(prefix.parent))
        weakref.finalize(self, opened.close)
        self._reader = tf.train.load_checkpoint(str(folder / prefix.name))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every entry with its shape, an optimizer's slots and a TF2 checkpoint's object graph included."""
        return {name: tuple(shape) for name, shape in self._reader.get_variable_to_shape_map().items()}

    def read(self, name: str) -> Any:
        """The value of an entry."""
        return self._reader.get_tensor(name)


def damaged_checkpoint(path: Path, fault: str) -> CheckpointError:
    """The line for a checkpoint that cannot be read; names the data files where there are such."""
    shards = sorted(path.parent.glob(f"{path.name}.data-*"))
    names = ", ".join(shard.name for shard in shards[:3]) or path.name
    return CheckpointError(f"{path}: a damaged checkpoint ({names}: {' '.join(fault.split())}); nothing was loaded")
