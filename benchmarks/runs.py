"""Runs of single stages in folders of their own, on data that was prepared once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from stages.core.base.layout import Layout

ROOT = Path(__file__).resolve().parent.parent


def run_stage_in(layout: Layout, stage: str, *arguments: str) -> None:
    """Runs a stage on a folder; its progress is shown, what it would print at the end is not."""
    command = [sys.executable, "-m", f"stages.{stage}", *arguments, "--root", str(layout.root)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def share_data(prepared: Layout, layout: Layout) -> None:
    """Links prepared data into another folder; what an earlier, unfinished run has linked is replaced."""
    shutil.rmtree(layout.prepared, ignore_errors=True)
    shutil.copytree(prepared.prepared, layout.prepared, copy_function=os.link)


def share_weights(trained: Layout, layout: Layout, model: str) -> None:
    """Links the trained weights of a model into another folder, in place of what is there."""
    target = layout.variant(model, "trained")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(trained.variant(model, "trained"), target, copy_function=os.link)
