"""One exported tiny model of each kind, built once a session for tests of several folders; and the fast tier."""

from pathlib import Path

import pytest

from stages.core.base.layout import Layout
from stages.core.converting.tools import forbid_telemetry
from tests.exported_project import write_exported_project

forbid_telemetry()  # tests import OpenVINO in this process too, not only through the table of tools

FAST = "not slow"
SLOW_MODULE = "\npytestmark = pytest.mark.slow\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing with them")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Slow modules are not even imported in the fast tier: TensorFlow alone takes ten seconds."""
    is_module = collection_path.suffix == ".py" and config.getoption("markexpr") == FAST
    return True if is_module and SLOW_MODULE in collection_path.read_text() else None


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def exported_project(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A project whose tiny models have random weights and went through `export`. Read only."""
    return write_exported_project(tmp_path_factory.mktemp("exported"))
