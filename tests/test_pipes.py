"""A reader that has enough ends a command without a word."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRINTS = "print('line ' * 20, flush=True)"


@pytest.mark.parametrize("before_the_end", [True, False], ids=["while-printing", "at-the-end"])
def test_a_closed_pipe_is_no_traceback(before_the_end: bool) -> None:
    body = f"[{PRINTS} for _ in range(10_000)]" if before_the_end else "print('last')"
    code = "import time; from stages.core.command_line import run_stage;"
    code += f"run_stage(lambda _: [time.sleep(0.5), {body}] and 0)"
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    assert reader.stdin is not None
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=reader.stdin, stderr=subprocess.PIPE, text=True, check=False
    )
    reader.stdin.close()
    assert (done.returncode, done.stderr) == (141, "")
