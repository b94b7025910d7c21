"""What the classes of a checkpoint are called: said by the user, written beside the checkpoint, or published."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from stages.core.base.errors import CheckpointError
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import LABEL_MAP_FILE, LABELS_FILE, RESULT_FILE
from stages.core.results.training import TrainResult
from stages.core.training.initializing.zoo import ZooEntry

InitLabels = str | tuple[str, ...] | Mapping[int, str] | None


def find_class_names(
    given: InitLabels, checkpoint: Path, entry: ZooEntry | None, root: Path
) -> tuple[str, dict[int, str]]:
    """Where the names come from, and class id (from 1) to name; two empty ones if nobody says.

    Args:
      given: `init_labels`: names in the order of the ids, id to name, or the path of a label map (.pbtxt) or of a
        labels.json.
      checkpoint: Prefix or file.
      entry: Of the zoo, if it comes from there.
      root: What a relative path starts from.

    Raises:
      CheckpointError: if a file cannot be read as class names.
    """
    if given is not None and not isinstance(given, str):
        names = given if isinstance(given, Mapping) else dict(enumerate(given, start=1))
        return "init_labels", dict(names)
    if given:
        return given, read_class_names(root / given)
    for source, names in _names_beside(checkpoint):
        return source, names
    if entry is not None and entry.labels:
        return "the zoo's table", dict(entry.labels)
    return "", {}


def read_class_names(path: Path) -> dict[int, str]:
    """Class names in a label map of the Object Detection API, or in a JSON file of id to name.

    Raises:
      CheckpointError: if it is missing or neither, or two classes share an id or a name.
    """
    try:
        text = path.read_text()
        pairs = _json_pairs(text) if path.suffix == ".json" else _label_map_pairs(text)
    except (OSError, ValueError, text_format.ParseError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        raise CheckpointError(
            f"init_labels {path}: {reason}; expected a label map (.pbtxt) or id to name as JSON"
        ) from None
    pairs = [(number, name) for number, name in pairs if number > 0]
    for values in zip(*pairs, strict=True):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise CheckpointError(f"init_labels {path}: {twice!r} is there twice")
    if not pairs or not all(name for _, name in pairs):
        raise CheckpointError(
            f"init_labels {path}: expected classes with an id from 1 and a name, found {len(pairs)} of them"
        )
    return dict(sorted(pairs))


def _names_beside(checkpoint: Path) -> Iterator[tuple[str, dict[int, str]]]:
    """Files of class names in the checkpoint's folder or, for our own results, in the one above."""
    for folder in (checkpoint.parent, checkpoint.parent.parent):
        if (folder / RESULT_FILE).is_file():
            labels = read_json(TrainResult, folder / RESULT_FILE).labels
            if labels:
                yield str(folder / RESULT_FILE), {int(number): name for number, name in labels.items()}
    for name in (LABEL_MAP_FILE, LABELS_FILE):
        if (checkpoint.parent / name).is_file():
            yield str(checkpoint.parent / name), read_class_names(checkpoint.parent / name)


def _json_pairs(text: str) -> list[tuple[int, str]]:
    tree = json.loads(text)
    if not isinstance(tree, dict):
        raise ValueError(f"found {type(tree).__name__}")
    return [(int(number), str(name)) for number, name in tree.items()]


def _label_map_pairs(text: str) -> list[tuple[int, str]]:
    parsed = text_format.Parse(text, _label_map_class()(), allow_unknown_field=True)
    return [(item.id, item.display_name or item.name) for item in parsed.item]


def _label_map_class() -> Any:
    """A message class for the three fields of a label map that are needed, read by protobuf's own text format."""
    proto = descriptor_pb2.FileDescriptorProto(name="label_map.proto", package="labels", syntax="proto2")
    item, whole = proto.message_type.add(name="Item"), proto.message_type.add(name="LabelMap")
    kinds = descriptor_pb2.FieldDescriptorProto
    for number, (name, kind) in enumerate(
        (("name", kinds.TYPE_STRING), ("id", kinds.TYPE_INT32), ("display_name", kinds.TYPE_STRING)), start=1
    ):
        item.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    whole.field.add(
        name="item", number=1, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_REPEATED, type_name=".labels.Item"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("labels.LabelMap"))
