"""Splits by the names of files and folders, as exporters lay data sets out: `train/`, `valid/`, `test_labels.csv`."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from stages.core.datasets.samples import Split

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""What people call splits, in small letters."""


def split_by_folder(path: str) -> Split | None:
    """The split of a file by the folders that it lies in; None where none of them is called one."""
    found = [SPLIT_NAMES[part.lower()] for part in PurePosixPath(path).parts[:-1] if part.lower() in SPLIT_NAMES]
    return found[0] if len(set(found)) == 1 else None


def split_by_name(path: str) -> Split | None:
    """The split of a file by a word of its own name (`instances_val2017.json`), else by its folders."""
    words = re.findall(r"[a-z]+", PurePosixPath(path).stem.lower())
    found = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    return found.pop() if len(found) == 1 else split_by_folder(path)


def one_file_per_split(paths: Sequence[str]) -> dict[Split, str]:
    """Files by split, where each is one and train is among them; else nothing: which is meant, must be said."""
    by_split: dict[Split, str] = {}
    for path in paths:
        split = split_by_name(path)
        if split is None or split in by_split:
            return {}
        by_split[split] = path
    return by_split if "train" in by_split and len(by_split) > 1 else {}


def splits_of_folders(paths: Sequence[str]) -> list[Split | None]:
    """A split for each of many files, where all lie in folders called one, train among them; else None for all."""
    found = [split_by_folder(path) for path in paths]
    if None in found or "train" not in found or len(set(found)) < 2:
        return [None] * len(paths)
    return found


def note_splits(splits: Sequence[Split | None]) -> list[str]:
    """A note on splits that were taken from names."""
    counts = {split: splits.count(split) for split in dict.fromkeys(splits) if split is not None}
    if not counts:
        return []
    return [f"splits by the names of files or folders: {', '.join(f'{split} {num}' for split, num in counts.items())}"]
