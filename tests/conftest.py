"""One exported tiny model of each kind, built once for tests of several folders; the fast tier; long files first."""

import fcntl
import gc
import os
from pathlib import Path

import hypothesis
import pytest

from stages.core.base.layout import Layout
from stages.core.converting.tools import forbid_telemetry
from tests.builders import AWKWARD
from tests.exported_project import write_exported_project

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # as commands set it: see stages/core/command_line.py
for threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    # Several processes run the tests, of tiny models: with more threads, a fifth of a training's CPU time is waiting.
    os.environ.setdefault(threads, "1")
forbid_telemetry()  # tests import OpenVINO in this process too, not only through the table of tools

# A deadline per example fails on a busy machine, not on a fault.
hypothesis.settings.register_profile("no-deadline", deadline=None)
hypothesis.settings.load_profile("no-deadline")

ROOT = Path(__file__).resolve().parent.parent
LONG = ("tests/pipeline/test_smoke_run.py", "tests/test_train.py", "tests/test_qat.py", "tests/test_prune.py")
"""The files that take longest: the first runs the pipeline, and what one training has traced serves the next."""
FAST = "not slow"
SLOW_MODULE = "\npytestmark = pytest.mark.slow\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing with them")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Slow modules are not even imported in the fast tier: TensorFlow alone takes ten seconds."""
    is_module = collection_path.suffix == ".py" and config.getoption("markexpr") == FAST
    return True if is_module and SLOW_MODULE in collection_path.read_text() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first and fast ones last, so that parallel processes end at about the same time."""

    def order(item: pytest.Item) -> tuple[int, bool]:
        file = item.path.relative_to(ROOT).as_posix()
        return LONG.index(file) if file in LONG else len(LONG), item.get_closest_marker("slow") is None

    items.sort(key=order)


def pytest_collection_finish() -> None:
    """What collecting has imported stays: the garbage collector need not walk half a million objects again and again.

    Of the CPU time of tests that read flatbuffers or trace graphs, a quarter went there.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def exported_project(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A project whose tiny models have random weights and went through `export`. Read only.

    The first process that needs it builds it for all of the session.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root = shared / AWKWARD
    with (shared / "exported.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if not lock.read():
            write_exported_project(root)
            lock.write("built")
    return Layout(root)
