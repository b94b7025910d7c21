"""Everything that `prepare` reads lies below `prepare.path`, the one folder that DVC tracks for it.

DVC follows links to files, and `prepare.path` may be a link itself; a folder behind a link inside it is passed over, so
that a change there would run nothing. (DVC 3.67, measured; the test repeats it.)
"""

import os
from collections.abc import Mapping
from pathlib import Path

from stages.core.base.errors import DataError, ParamsError
from stages.core.params.steps import PrepareParams

PATH_KEYS = ("annotations", "images", "label_map")
"""Parameters that say where in `prepare.path` something is."""


def check_paths(params: PrepareParams, folder: Path) -> None:
    """Raises ParamsError for a parameter that leads out of the data set's folder."""
    for name in PATH_KEYS:
        value = getattr(params, name)
        for key, text in (value if isinstance(value, Mapping) else {"": value}).items():
            if text is not None and not _is_below(folder, text):
                where = f"prepare.{name}" + f".{key}" * bool(key)
                raise ParamsError(
                    f"{where}: {text!r} leads out of prepare.path ({folder}), and a change there would run nothing: "
                    "move it below that folder, or name a folder that holds all in prepare.path"
                )


def _is_below(folder: Path, text: str) -> bool:
    top = os.path.abspath(folder)  # noqa: PTH100, lexically: links are looked at one by one
    return Path(os.path.abspath(folder / text.replace("\\", "/"))).is_relative_to(top)  # noqa: PTH100


def check_links(folder: Path) -> None:
    """Raises DataError for a link to a folder that lies outside of the data set's."""
    top = folder.resolve()
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(parent, name)
            if path.is_symlink() and not path.resolve().is_relative_to(top):
                raise DataError(
                    f"{path}: a link to {path.resolve()}, out of prepare.path ({folder}): DVC does not follow it, and "
                    "a change there would run nothing; move or copy that folder to where the link is"
                )
