"""Folders under a name that no library takes for a pattern, a list or an address.

TensorFlow looks for checkpoints and records with glob patterns, Model Garden cuts paths at commas, and so does
OpenVINO: a project below `data[1]` or `a,b` would not be found. A symbolic link with a plain name leads to the same
files. What is written down for later (in results, in MLflow) is always the real path.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLAIN = re.compile(r"[A-Za-z0-9_./@+=~ -]+")


@contextmanager
def plain_path(folder: Path) -> Iterator[Path]:
    """The folder itself where its path is plain, else a link to it that lasts as long as the block.

    Args:
      folder: Absolute, or relative to the current folder; it need not exist yet.
    """
    absolute = folder.absolute()
    if PLAIN.fullmatch(str(absolute)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="plain-") as scratch:
        link = Path(scratch, "folder")
        link.symlink_to(absolute, target_is_directory=True)
        yield link
