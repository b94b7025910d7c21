"""What tests of several folders share: one exported tiny model of each kind, built once a session."""

import pytest

from stages.core.base.layout import Layout
from stages.core.converting.tools import forbid_telemetry
from tests.exported_project import write_exported_project

forbid_telemetry()  # tests import OpenVINO in this process too, not only through the table of tools


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing with them")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def exported_project(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A project whose tiny models have random weights and went through `export`. Read only."""
    return write_exported_project(tmp_path_factory.mktemp("exported"))
