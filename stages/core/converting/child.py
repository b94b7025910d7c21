"""Work in a fresh process: what takes its process down loses one row, not the run."""

import subprocess
import sys
from pathlib import Path

import stages
from stages.core.running.isolated import describe_crash

REFUSED = 1
"""Exit status of a child that says why in one line on stdout."""


def run_child(module: str, *arguments: str, timeout_s: float, doing: str, show: bool = False) -> str:
    """Runs `python -m module arguments` and waits.

    Args:
      module: Ends with status 0, or with `REFUSED` and one line on stdout.
      timeout_s: How long it may take.
      doing: For messages, e.g. `running one image`.
      show: Whether what it writes to stderr (a progress bar) goes to the terminal.

    Returns:
      Why it failed, in one line; empty if it did not.
    """
    project = Path(next(iter(stages.__path__))).parent
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=project,
            stdout=subprocess.PIPE,
            stderr=None if show else subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no result within {timeout_s:g} s while {doing}"
    said_aside = done.stderr or ""
    if done.returncode < 0:
        return describe_crash(done.returncode, said_aside, doing)
    if done.returncode == 0:
        return ""
    # A runtime may chat on stdout too; the reason is what the child says last.
    said = done.stdout if done.returncode == REFUSED and done.stdout.strip() else done.stdout + said_aside
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else f"no reason told (exit status {done.returncode}) while {doing}"
