"""A COCO annotation file as a tree with sound entries: ids, names and lists are what the rest may rely on."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.core.base.errors import DataError
from stages.core.datasets.data_files import read_data_json
from stages.core.datasets.tidying import tidy_name
from stages.core.datasets.values import BadValueError, to_id, to_name

Tree = dict[str, Any]
KEYS = {
    "images": {"id": to_id, "file_name": to_name},
    "annotations": {"image_id": to_id, "category_id": to_id},
    "categories": {"id": to_id, "name": to_name},
}
"""What every entry of a list must have, and how it is read."""


def load_tree(path: Path) -> Tree:
    """A parsed annotation file with the lists `images`, `categories` and `annotations`; ids are comparable.

    Raises:
      DataError: naming file and spot.
    """
    tree = read_data_json(path)
    if not isinstance(tree, dict) or not isinstance(tree.get("images"), list):
        raise DataError(f"{path}: not COCO: expected an object with the lists images, annotations and categories")
    tree = {"annotations": [], **tree}
    return tree | {name: _read_entries(tree.get(name), name, path) for name in KEYS}


def _read_entries(entries: Any, name: str, path: Path) -> list[Tree]:
    if not isinstance(entries, list):
        raise DataError(f"{path}: not COCO: {name} is {type(entries).__name__}, expected a list")
    readers = KEYS[name]
    read = []
    for index, entry in enumerate(entries):
        missing = [key for key in readers if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise DataError(f"{path}: {name}[{index}] has no {' and no '.join(missing)}")
        try:
            read.append(entry | {key: reader(entry[key], key) for key, reader in readers.items()})
        except BadValueError as error:
            raise DataError(f"{path}: {name}[{index}].{error}") from None
    return read


def merge_categories(trees: Mapping[Path, Tree]) -> tuple[dict[int | str, int], dict[int, str], list[str]]:
    """Numbers the classes of all files from 1, in the order of their ids.

    Left out with a note, if nothing is annotated with it: the root that some exporters add above the classes, and the
    second of two categories of one name.

    Returns:
      Original id to number, number to name, and notes.

    Raises:
      DataError: if an id or a name is used twice for different things.
    """
    where = ", ".join(map(str, trees))
    names = _names_by_id(trees)
    if not names:
        raise DataError(f"{where}: no categories")
    used = Counter(entry["category_id"] for tree in trees.values() for entry in tree["annotations"])
    above = {
        tidy_name(entry["supercategory"])
        for tree in trees.values()
        for entry in tree["categories"]
        if isinstance(entry.get("supercategory"), str) and tidy_name(entry["supercategory"]) != tidy_name(entry["name"])
    }
    alike: dict[str, list[int | str]] = defaultdict(list)
    for key, name in names.items():
        alike[tidy_name(name)].append(key)
    notes = []
    for name, keys in alike.items():
        empty = [key for key in keys if not used[key]]
        if len(keys) == 1 and not (name in above and empty):
            continue
        dropped = empty if len(empty) < len(keys) or name in above else empty[1:]
        for key in dropped:
            kind = "the root of the others" if name in above else "the second of that name"
            notes.append(f"category {name!r} (id {key!r}) is left out: {kind}, without an annotation")
            del names[key]
        alike[name] = [key for key in keys if key not in dropped]
        notes += _merge_alike(alike[name], names, where)
    numbers: dict[int | str, int] = {}
    labels: dict[int, str] = {}
    for keys in sorted((keys for keys in alike.values() if keys), key=lambda keys: min(map(_order, keys))):
        number = len(labels) + 1
        labels[number] = tidy_name(names[keys[0]])
        numbers |= dict.fromkeys(keys, number)
    if not labels:
        raise DataError(f"{where}: no categories but a root without annotations")
    return numbers, labels, notes


def _names_by_id(trees: Mapping[Path, Tree]) -> dict[int | str, str]:
    names: dict[int | str, str] = {}
    for path, tree in trees.items():
        own: set[int | str] = set()
        for entry in tree["categories"]:
            key, name = entry["id"], entry["name"]
            if key in own or tidy_name(names.setdefault(key, name)) != tidy_name(name):
                raise DataError(f"{path}: category id {key!r} is used twice ({names[key]!r} and {name!r})")
            own.add(key)
    return names


def _merge_alike(keys: Sequence[int | str], names: Mapping[int | str, str], where: str) -> list[str]:
    """A note on categories that only blanks tell apart; one name with two ids is an error."""
    if len(keys) < 2:
        return []
    spellings = [names[key] for key in keys]
    if len(set(spellings)) < len(spellings):
        raise DataError(f"{where}: category {spellings[0]!r} has several ids: {list(keys)}")
    return [f"categories {', '.join(map(repr, spellings))} differ only by blanks: they are one class"]


def _order(key: int | str) -> tuple[bool, int, str]:
    """Whole numbers first."""
    return (True, 0, key) if isinstance(key, str) else (False, key, "")
