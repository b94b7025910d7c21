"""SIGTERM and Ctrl-C, whatever the process is in the middle of: one line, 143 or 130, no child left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.stopping_stage import KINDS

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("whom", ["the process", "its group"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda signum: signum.name)
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_is_one_line_and_its_status(kind: str, signum: signal.Signals, whom: str, tmp_path: Path) -> None:
    if kind in ("swallowed_in_a_callback", "with_other_threads") and (signum, whom) != (signal.SIGTERM, "the process"):
        pytest.skip("waits for the last resort: once is enough")
    command = [sys.executable, "-m", "tests.stopping_stage", kind, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as stage:
        assert stage.stdout is not None
        assert stage.stdout.readline() == "ready\n"
        children = psutil.Process(stage.pid).children(recursive=True)
        (os.kill if whom == "the process" else os.killpg)(stage.pid, signum)
        _, said = stage.communicate(timeout=20)
    assert said.splitlines() == [f"stopping_stage: stopped by {signum.name}"]
    assert stage.returncode == 128 + signum
    assert list(tmp_path.iterdir()) == []
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_a_stage_ends_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "command = [sys.executable, '-m', 'tests.stopping_stage', 'in_python']\n"
        "child = subprocess.Popen(command, stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        stage = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    deadline = time.monotonic() + 10
    while stage.is_running() and stage.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not stage.is_running() or stage.status() == psutil.STATUS_ZOMBIE
