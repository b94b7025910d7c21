"""Label maps of the Object Detection API (`label_map.pbtxt`): class ids and names, read and written.

Source: `protos/string_int_label_map.proto` and `utils/label_map_util.py` of the API.
"""

from collections.abc import Mapping
from pathlib import Path

from stages.core.base.errors import ForeignConfigError
from stages.core.tfod.files import read_text
from stages.core.tfod.textformat import Field, Message, Scalar, parse_text, print_text, to_message

BACKGROUND = "background"


def read_label_map(path: Path, *, display_names: bool = True) -> dict[int, str]:
    """Class id (from 1, gaps allowed) to name, in id order.

    Args:
      path: The .pbtxt file.
      display_names: Whether `display_name` is taken where an item has one; otherwise it is always `name`.

    Raises:
      ForeignConfigError: if the file is missing or no label map, an item lacks id or name, an id or a name is there
        twice, or an id is below 1. Id 0 may only be the API's own `background`, which is left out.
    """
    return parse_label_map(read_text(path), str(path), display_names=display_names)


def parse_label_map(text: str, name: str = "label map", *, display_names: bool = True) -> dict[int, str]:
    """What `read_label_map` does, for a text; `name` is what messages call it."""
    labels: dict[int, str] = {}
    lines: dict[int | str, int] = {}
    for item in parse_text(text, name).fields:
        where = f"{name}: line {item.line}"
        if item.name != "item" or not isinstance(item.value, Message):
            raise ForeignConfigError(f"{where}: expected `item {{ ... }}`, found {item.name!r}: not a label map")
        key, label = _read_item(item.value, where, display_names)
        if key == 0 and label == BACKGROUND:
            continue
        if key < 1:
            reason = "0 is the API's background" if key == 0 else "an id is no negative number"
            raise ForeignConfigError(f"{where}: {label!r} has id {key}: {reason}, classes count from 1")
        for thing, told in ((key, f"id {key}"), (label, f"name {label!r}")):
            if thing in lines:
                raise ForeignConfigError(f"{where}: {told} is there twice, first on line {lines[thing]}")
            lines[thing] = item.line
        labels[key] = label
    if not labels:
        raise ForeignConfigError(f"{name}: no classes: expected `item {{ id: 1 name: '...' }}`")
    return dict(sorted(labels.items()))


def print_label_map(labels: Mapping[int, str]) -> str:
    """The text of a label map, ordered by id.

    Args:
      labels: Class id (from 1) to name.
    """
    items = [{"id": key, "name": labels[key]} for key in sorted(labels)]
    return "\n".join(print_text(to_message({"item": item})) for item in items)


def _read_item(item: Message, where: str, display_names: bool) -> tuple[int, str]:
    values = {name: _single(item.all(name), name, where) for name in ("id", "name", "display_name")}
    key, names = values["id"], [values["name"]]
    if display_names:
        names.insert(0, values["display_name"])
    label = next((found for found in names if found is not None), None)
    if not isinstance(key, int) or isinstance(key, bool):
        found = "no id" if key is None else f"id {key!r}"
        raise ForeignConfigError(f"{where}: item {label!r}: expected a whole number as id, found {found}")
    if not isinstance(label, str) or not label.strip():
        raise ForeignConfigError(f"{where}: item with id {key}: expected a name in quotes, found {label!r}")
    return key, label


def _single(found: list[Field], name: str, where: str) -> Scalar | Message | None:
    if len(found) > 1:
        raise ForeignConfigError(f"{where}: one item with {len(found)} fields {name!r} (line {found[1].line})")
    return found[0].value if found else None
