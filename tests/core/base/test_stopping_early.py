"""SIGTERM and Ctrl-C before a command's imports are done, and after its work: one line there too, in every command."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")
MOMENTS = {"first imports": "stages.core.command_line", "in the middle of imports": "pydantic", "shutdown": ""}


def start(command: str, signum: int, module: str) -> subprocess.Popen[str]:
    python_path = os.pathsep.join([str(Path(__file__).parent / "signal_at"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": python_path, "SIGNAL_AT": f"{signum}:{module}"}
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{command}", "--help"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda signum: signum.name)
@pytest.mark.parametrize("moment", MOMENTS)
def test_every_command_ends_with_one_line(moment: str, signum: signal.Signals) -> None:
    # Either signal for every second command: both handlers are one.
    chosen = COMMANDS[signum == signal.SIGINT :: 2]
    processes = {command: start(command, signum, MOMENTS[moment]) for command in chosen}
    told = {
        command: (process.communicate(timeout=120)[1], process.returncode) for command, process in processes.items()
    }
    assert told == {command: (f"{command}: stopped by {signum.name}\n", 128 + signum) for command in chosen}


def test_whoever_imports_the_package_keeps_their_handlers() -> None:
    # A shell's background jobs have none: they begin with SIGINT ignored.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import stages; "
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
