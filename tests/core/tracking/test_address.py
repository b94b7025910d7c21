import sqlite3
from pathlib import Path

import pytest

from stages.core.base.errors import ParamsError
from stages.core.tracking.address import hide_password, is_local, probe_store, resolve_uri

ROOT = Path("/somewhere/project")


@pytest.mark.parametrize(
    ("uri", "environ", "expected"),
    [
        ("sqlite:///mlflow.db", {}, "sqlite:////somewhere/project/mlflow.db"),
        ("sqlite:////abs/mlflow.db", {}, "sqlite:////abs/mlflow.db"),
        ("http://host:5000", {}, "http://host:5000"),
        ("sqlite:///mlflow.db", {"MLFLOW_TRACKING_URI": "http://other"}, "http://other"),
        ("sqlite:///mlflow.db", {"MLFLOW_TRACKING_URI": ""}, "sqlite:////somewhere/project/mlflow.db"),
        ("postgresql+psycopg2://host/db", {}, "postgresql+psycopg2://host/db"),
    ],
)
def test_the_variable_wins_and_paths_are_absolute(uri: str, environ: dict[str, str], expected: str) -> None:
    assert resolve_uri(uri, ROOT, environ) == expected


@pytest.mark.parametrize(
    ("uri", "environ", "origin"),
    [("foo://bar", {}, "publish.tracking_uri"), ("sqlite:///x", {"MLFLOW_TRACKING_URI": "mlruns"}, "MLFLOW_TRACKING")],
)
def test_an_unknown_kind_of_store_is_one_clear_line(uri: str, environ: dict[str, str], origin: str) -> None:
    with pytest.raises(ParamsError, match=rf"^{origin}.*known kinds: sqlite, http"):
        resolve_uri(uri, ROOT, environ)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:secret@host:5000/x", "http://host:5000/x"),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
    ],
)
def test_passwords_are_not_shown(uri: str, shown: str) -> None:
    assert hide_password(uri) == shown


def test_a_free_database_is_fine_and_one_in_use_is_not(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert is_local(uri)
    assert probe_store(uri, 1) == ""
    with sqlite3.connect(tmp_path / "mlflow.db") as other:
        other.execute("BEGIN IMMEDIATE")
        assert probe_store(uri, 0.1) == "database is locked"
        other.rollback()
    assert probe_store(f"sqlite:///{tmp_path}/none/mlflow.db", 1) == "unable to open database file"
