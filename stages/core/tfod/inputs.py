"""The image's size, the classes and where the data is: between a config and `train.input_size` and `prepare`."""

import math
from pathlib import Path

from stages.core.base.errors import ForeignConfigError
from stages.core.tfod.conversion import ConfigConversion, is_placeholder
from stages.core.tfod.label_map import read_label_map

FIXED, KEPT = "fixed_shape_resizer", "keep_aspect_ratio_resizer"
ELSEWHERE = "put it below prepare.path: `prepare` depends on that folder alone"


def import_size(conversion: ConfigConversion) -> None:
    """Sets `train.input_size` and `train.resize`.

    Raises:
      ForeignConfigError: if the network's input has no fixed size.
    """
    path = f"model.{conversion.counterpart.meta}.image_resizer"
    kind = conversion.one_of(path)
    if kind == FIXED:
        asked = [conversion.integer(f"{path}.{FIXED}.{side}", 300) for side in ("height", "width")]
        keys, notes = [f"{path}.{FIXED}.height", f"{path}.{FIXED}.width"], []
        conversion.give(f"{path}.{FIXED}", "train.resize", "stretch")
    elif kind == KEPT:
        shortest, longest = (
            conversion.integer(f"{path}.{KEPT}.{side}_dimension", default)
            for side, default in (("min", 600), ("max", 1024))
        )
        asked, keys = [longest, longest], [f"{path}.{KEPT}.max_dimension"]
        conversion.give(f"{path}.{KEPT}", "train.resize", "letterbox")
        padded = conversion.flag(f"{path}.{KEPT}.pad_to_max_dimension", False)
        notes = [] if padded and shortest == longest else ["every input is as large as the API's largest"]
        conversion.excuse(f"{path}.{KEPT}.min_dimension", "inputs have one size: images are scaled to fit into it")
        conversion.excuse(f"{path}.{KEPT}.pad_to_max_dimension", "inputs are always padded")
    else:
        found = f"found {kind}" if kind else "found none"
        raise ForeignConfigError(
            f"{conversion.name}: {path}: expected {FIXED} or {KEPT}, {found}: inputs have one size"
        )
    if min(asked) < 1:
        raise ForeignConfigError(f"{conversion.name}: {keys[0]}: expected sides above 0, found {asked}")
    step = conversion.counterpart.detector.size_step
    size = [math.ceil(side / step) * step for side in asked]
    if size != asked:
        notes.insert(0, f"sides are multiples of {step}")
    for key in keys:
        conversion.give(key, "train.input_size", size, "; ".join(notes))


def import_data(conversion: ConfigConversion, folders: tuple[Path, ...]) -> dict[int, str]:
    """Sets what `prepare` needs; gives the classes of the label map, id to name, or nothing for a placeholder.

    Args:
      folders: Where a relative path is looked for, in this order.

    Raises:
      ForeignConfigError: if the label map is missing or wrong, or does not fit the number of classes.
    """
    path = f"model.{conversion.counterpart.meta}.num_classes"
    field, num_classes = conversion.find(path), conversion.integer(path, 0)
    if field is None or num_classes < 1:
        raise ForeignConfigError(f"{conversion.name}: {path}: expected a number above 0, found {num_classes or 'none'}")
    # A synthetic set instead of the records would train on something else unnoticed.
    conversion.tree["prepare"] = {"source": "tfrecord", "path": "data/raw"}
    if num_classes == 1:
        conversion.give(path, "prepare.min_classes", 1)
    else:
        conversion.excuse(path, "the number of classes is that of the prepared data")
    labels: dict[int, str] = {}
    for reader in ("train_input_reader", "eval_input_reader"):
        given = conversion.text(f"{reader}.label_map_path")
        conversion.excuse(f"{reader}.label_map_path", "a placeholder" if is_placeholder(given) else ELSEWHERE)
        if given and not is_placeholder(given):
            labels = labels or read_label_map(_locate(conversion, f"{reader}.label_map_path", given, folders))
    if labels and max(labels) > num_classes:
        raise conversion.mistake(
            field, path, f"{num_classes} classes, but the label map has {labels[max(labels)]!r} with id {max(labels)}"
        )
    return labels


def _locate(conversion: ConfigConversion, path: str, given: str, folders: tuple[Path, ...]) -> Path:
    for folder in folders:
        if (folder / given).is_file():
            return folder / given
    field = conversion.find(path)
    assert field is not None
    looked = " and ".join(str(folder) for folder in dict.fromkeys(folders))
    raise conversion.mistake(field, path, f"no such file: {given!r} (looked in {looked})")
