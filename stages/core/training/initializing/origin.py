"""An init checkpoint, found and recognised: all that a training depends on, before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages.core.base.errors import CheckpointError
from stages.core.base.hashing import hash_file, hash_value
from stages.core.base.layout import EXPERIMENT_FILE, PARAMS_FILE
from stages.core.tables.detectors import PixelScaling
from stages.core.training.initializing.class_names import InitLabels, find_class_names
from stages.core.training.initializing.downloads import Say
from stages.core.training.initializing.kinds import CheckpointKind, recognise_kind
from stages.core.training.initializing.locating import INDEX, locate_checkpoint
from stages.core.training.initializing.zoo import find_entry


@dataclass(frozen=True, kw_only=True)
class InitCheckpoint:
    """Weights to start from.

    Attributes:
      source: What `init_checkpoint` says.
      path: Prefix or file on this machine.
      kind: Row of `CHECKPOINT_KINDS`.
      sha256: Of the file; of a TensorFlow checkpoint, of its index, which holds a checksum of every value.
      labels: Class id to name of what it detects; empty if nobody says.
      labels_from: Who says so.
      norm_epsilon, backbone_norm_epsilon: What its batch norms added to the variance, if the zoo's table or the
        configuration beside it says so; of the backbone if that is another.
      pixels: Pre-processing that it expects; None: not known.
    """

    source: str
    path: Path
    kind: CheckpointKind
    sha256: str
    labels: Mapping[int, str]
    labels_from: str
    norm_epsilon: float | None
    backbone_norm_epsilon: float | None
    pixels: PixelScaling | None

    @property
    def key(self) -> str:
        """Hash of what a training depends on."""
        facts = [self.kind.name, sorted(self.labels.items()), self.norm_epsilon, self.backbone_norm_epsilon]
        return hash_value([self.sha256, *facts])

    def epsilon_beside(self, path: str) -> float | None:
        """What is said beside the checkpoint of the batch norm whose variance is at `path`; None if nothing is."""
        return self.backbone_norm_epsilon if path.startswith("backbone/") else self.norm_epsilon


def open_init_checkpoint(source: str, labels: InitLabels, *, root: Path, downloads: Path, say: Say) -> InitCheckpoint:
    """Finds what `init_checkpoint` names, fetching and unpacking it where need be, and recognises its kind.

    Args:
      source: Path, folder, archive, URL, or `zoo:<name>`.
      labels: `init_labels`.
      root: What relative paths start from.
      downloads: Folder for what is fetched.
      say: Takes lines about that.

    Raises:
      CheckpointError: if there is no such checkpoint, or it is of no kind that is known.
    """
    entry = find_entry(source)
    path = locate_checkpoint(source, entry, root=root, downloads=downloads, say=say)
    kind = recognise_kind(path)
    where, names = find_class_names(labels, path, entry, root)
    model = _model_beside(path)
    epsilon = _number(model.get("norm_activation"), "norm_epsilon")
    if epsilon is None and entry is not None:
        epsilon = entry.epsilon
    backbone_epsilon = _number(model, "backbone_norm_epsilon")
    return InitCheckpoint(
        source=source,
        path=path,
        kind=kind,
        sha256=hash_file(path if path.is_file() else path.with_name(f"{path.name}{INDEX}")),
        labels=names,
        labels_from=where,
        norm_epsilon=epsilon,
        backbone_norm_epsilon=epsilon if backbone_epsilon is None else backbone_epsilon,
        pixels=_pixels(model.get("pixels")) or kind.pixels,
    )


def _model_beside(path: Path) -> Mapping[str, Any]:
    """`task.model` of the configuration that Model Garden's trainer, or our own, leaves beside its checkpoints."""
    for folder in (path.parent, path.parent.parent):
        for name in (EXPERIMENT_FILE, PARAMS_FILE):
            tree = _read_tree(folder / name) if (folder / name).is_file() else None
            for key in ("task", "model"):
                tree = tree.get(key) if isinstance(tree, Mapping) else None
            if isinstance(tree, Mapping):
                return tree
    return {}


def _read_tree(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{path}: the configuration beside the init checkpoint cannot be read ({reason})"
        ) from None


def _number(tree: Any, name: str) -> float | None:
    value = tree.get(name) if isinstance(tree, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _pixels(tree: Any) -> PixelScaling | None:
    if not isinstance(tree, Mapping) or not tree.get("mean"):
        return None
    red, green, blue = (float(value) for value in tree["mean"])
    by_red, by_green, by_blue = (float(value) for value in tree["deviation"])
    return PixelScaling(mean=(red, green, blue), deviation=(by_red, by_green, by_blue))
