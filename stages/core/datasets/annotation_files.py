"""Which files of a data set hold its annotations, and which split each defines."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.core.base.errors import DataError
from stages.core.datasets.folder_hints import describe_folder
from stages.core.datasets.samples import SPLITS, Split
from stages.core.datasets.split_names import one_file_per_split

SHOWN = 6


def choose_files(
    folder: Path, annotations: str | Mapping[Split, str] | None, candidates: Sequence[str], kind: str
) -> tuple[dict[Split | None, Path], list[str]]:
    """Annotation files by split; None as the split where that is left to the seed.

    Args:
      folder: The data set.
      annotations: `prepare.annotations`: a file below `folder`, or one for each split; None: the candidates.
      candidates: Files below `folder` that could be meant: a single one, or one for each split by their names.
      kind: What they are, for messages.

    Returns:
      The files, and a note where names gave the splits.

    Raises:
      DataError: if a file is missing, or which one is meant is open.
    """
    files: dict[Split | None, Path]
    notes = []
    if isinstance(annotations, Mapping):
        files = {split: folder / annotations[split] for split in SPLITS if split in annotations}
    elif annotations is not None:
        files = {None: folder / annotations}
    elif len(candidates) == 1:
        files = {None: folder / candidates[0]}
    elif by_name := one_file_per_split(candidates):
        files = {split: folder / by_name[split] for split in SPLITS if split in by_name}
        listed = ", ".join(f"{split} {path.relative_to(folder)}" for split, path in files.items())
        notes = [f"splits by the names of files: {listed}"]
    elif candidates:
        more = f" and {len(candidates) - SHOWN} more" if len(candidates) > SHOWN else ""
        raise DataError(
            f"{folder}: several {kind} files ({', '.join(candidates[:SHOWN])}{more}); "
            "say which with prepare.annotations"
        )
    else:
        raise DataError(f"{folder}: no {kind} file; {describe_folder(folder)}")
    for path in files.values():
        if not path.is_file():
            raise DataError(f"{path}: no such file (prepare.annotations); {describe_folder(folder)}")
    return files, notes
