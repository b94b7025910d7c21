"""The last good checkpoint: found by reading every byte, whatever a kill has left behind."""

import json
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

GLOBAL_STEP = "global_step/.ATTRIBUTES/VARIABLE_VALUE"


def settle_checkpoints(folder: Path, *, name: str = "ckpt") -> tuple[int | None, list[str]]:
    """Makes the newest readable checkpoint of a folder the one that TensorFlow's CheckpointManager will restore.

    Checkpoints that are truncated, incomplete or not finite are renamed to `<name>-<number>.damaged.*`, half-written
    ones are deleted, and TensorFlow's state file is written anew from what is there.

    Args:
      folder: Where CheckpointManager keeps `<name>-<number>.index` and `.data-*`.
      name: The checkpoints' common name.

    Returns:
      The global step of the newest good checkpoint (None if there is none), and a line for each one set aside.
    """
    for leftover in folder.glob("*_temp"):
        shutil.rmtree(leftover, ignore_errors=True)
    good: list[tuple[int, Path]] = []
    notes = []
    for prefix in _prefixes(folder, name):
        fault = find_fault(prefix)
        if fault is None:
            good.append((read_step(prefix), prefix))
        else:
            _set_aside(prefix)
            notes.append(f"checkpoint {prefix.name} is damaged ({fault}): set aside, using the one before")
    good.sort()
    (folder / "checkpoint").unlink(missing_ok=True)
    if not good:
        return None, notes
    paths = [str(prefix) for _, prefix in good]
    times = [Path(f"{path}.index").stat().st_mtime for path in paths]
    # With their times, or CheckpointManager would take the older ones for preserved and never delete them.
    tf.compat.v1.train.update_checkpoint_state(
        str(folder), paths[-1], paths, all_model_checkpoint_timestamps=times, last_preserved_timestamp=min(times) - 1
    )
    return good[-1][0], notes


def find_fault(prefix: Path) -> str | None:
    """Why a checkpoint cannot be used; None for a good one. Reads every tensor, so TensorFlow checks every checksum."""
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        for key in reader.get_variable_to_shape_map():
            value = reader.get_tensor(key)
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
                return f"{key.removesuffix('/.ATTRIBUTES/VARIABLE_VALUE')} is not finite"
        reader.get_tensor(GLOBAL_STEP)
    except Exception as error:  # the reader raises plain RuntimeError and various tf.errors for damaged files
        return " ".join(str(error).split())[:120] or type(error).__name__
    return None


def read_step(prefix: Path) -> int:
    """Global step stored in a checkpoint."""
    return int(tf.train.load_checkpoint(str(prefix)).get_tensor(GLOBAL_STEP))


def settle_best(folder: Path, *, newest: int) -> list[str]:
    """Checks that the best checkpoint and Model Garden's note of its AP belong together; else forgets both.

    Model Garden writes `info.json` before the checkpoint: a kill between the two leaves the AP of one step with the
    weights of another. A best checkpoint from after the one that training goes on from is forgotten too: its step comes
    again, with other weights.

    Args:
      folder: Where Model Garden keeps `best_ckpt-<number>` and `info.json`.
      newest: Global step that training goes on from.

    Returns:
      A line for each thing set aside.
    """
    if not folder.exists():
        return []
    step, notes = settle_checkpoints(folder, name="best_ckpt")
    try:
        noted = json.loads((folder / "info.json").read_bytes())["best_ckpt_global_step"]
    except (OSError, ValueError, KeyError, TypeError):
        noted = None
    if step is not None and noted == step <= newest:
        return notes
    if step is not None and step > newest:
        notes.append(f"the best checkpoint is of step {step}, training goes on from step {newest}: forgotten")
    elif step is not None or noted is not None:
        notes.append("the best checkpoint and its AP do not belong together: measured again")
    shutil.rmtree(folder)
    return notes


def _prefixes(folder: Path, name: str) -> list[Path]:
    """Every checkpoint of which an index or a data file is there."""
    files = [*folder.glob(f"{name}-*.index"), *folder.glob(f"{name}-*.data-*")]
    stems = {file.name.split(".")[0] for file in files if ".damaged" not in file.name}
    return [folder / stem for stem in sorted(stems)]


def _set_aside(prefix: Path) -> None:
    for file in prefix.parent.glob(f"{prefix.name}.*"):
        file.rename(file.with_name(file.name.replace(prefix.name, f"{prefix.name}.damaged", 1)))
