import sqlite3
from pathlib import Path

import pytest
from mlflow.utils.file_utils import local_file_uri_to_path
from sqlalchemy import create_engine, text

from stages.core.base.errors import ParamsError
from stages.core.params.tree import parse_params
from stages.core.tracking.address import (
    UI_ADDRESS,
    artifact_root,
    hide_password,
    is_local,
    probe_store,
    resolve_uri,
    runs_page,
    sqlite_path,
)
from tests.builders import AWKWARD

ROOT = Path("/somewhere/project")
NAMES = ["br[1]", "ques?tion", "a b", "100%", "%3F", "hash#", "com,ma", "ümläut", "back\\slash", "dol$lar", AWKWARD]


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


@pytest.mark.parametrize("name", NAMES)
def test_a_database_is_where_its_folder_is_whatever_that_is_called(name: str, tmp_path: Path) -> None:
    root = tmp_path / name / "inner"
    root.mkdir(parents=True)
    uri = resolve_uri("sqlite:///mlflow.db", root, {})
    assert resolve_uri("sqlite:///x.db", tmp_path, {"MLFLOW_TRACKING_URI": uri}) == uri, "a child process gets it so"
    assert sqlite_path(uri) == root / "mlflow.db"
    assert probe_store(uri, 1) == ""
    engine = create_engine(uri)  # as MLflow opens it
    with engine.connect() as database:
        database.execute(text("CREATE TABLE t (x INTEGER)"))
    engine.dispose()
    root_of_files = artifact_root(uri)
    assert root_of_files is not None
    assert local_file_uri_to_path(root_of_files) == str(root / "mlartifacts")
    assert sorted(tmp_path.iterdir()) == [tmp_path / name]
    assert [path.name for path in root.iterdir()] == ["mlflow.db"]


def test_options_of_a_database_stay() -> None:
    assert resolve_uri("sqlite:///m.db?timeout=5", ROOT, {}) == "sqlite:////somewhere/project/m.db?timeout=5"
    inside = resolve_uri("sqlite:///m.db?timeout=5", ROOT / "a?b", {})
    assert inside == "sqlite:////somewhere/project/a%3Fb/m.db?timeout=5"


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


@pytest.mark.parametrize(
    "uri", ["sqlite://mlflow.db", "sqlite:mlflow.db", "sqlite:///", "http://", "http:/host:5000", "http://:5000",
            "https://host:port", "http://host:99999", "http://[::1"],
)  # fmt: skip
def test_an_address_that_names_no_host_or_file_is_one_clear_line(uri: str) -> None:
    with pytest.raises(ParamsError, match=r"^publish\.tracking_uri: ") as caught:
        resolve_uri(uri, ROOT, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", " detectors", "detectors ", "two\nlines", "n" * 501])
def test_an_experiment_has_a_name(name: str) -> None:
    with pytest.raises(ParamsError, match=r"publish\.experiment: "):
        parse_params({"models": ["maskrcnn_tiny"], "schemes": ["int8"], "publish": {"experiment": name}})


def test_the_page_of_the_runs(tmp_path: Path) -> None:
    uri = resolve_uri("sqlite:///mlflow.db", tmp_path, {})
    assert runs_page(uri, "detectors") == UI_ADDRESS, "nothing is published yet"
    assert not list(tmp_path.iterdir())
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT)")
        database.execute("INSERT INTO experiments VALUES (0, 'Default'), (7, 'detectors')")
    assert runs_page(uri, "detectors") == f"{UI_ADDRESS}/#/experiments/7/runs?workflowType=machine_learning"
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE experiment_tags (key TEXT, value TEXT, experiment_id INTEGER)")
        database.execute("INSERT INTO experiment_tags VALUES ('mlflow.sharedViewState.files', '{}', 7)")
    assert runs_page(uri, "detectors").endswith("/runs?workflowType=machine_learning&viewStateShareKey=files")
    assert runs_page(uri, "smoke") == UI_ADDRESS
    assert runs_page("http://host:5000", "detectors") == "http://host:5000"
