"""Where runs are published to, and whether anything answers there."""

import sqlite3
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote, urlsplit

from stages.core.base.errors import ParamsError

STORE_KINDS = ("sqlite", "http", "https", "file", "postgresql", "mysql", "mssql", "databricks")
"""Kinds of tracking store that MLflow knows."""

UI_ADDRESS = "http://127.0.0.1:5000"
"""Where `make ui` serves."""
ARTIFACTS_FOLDER = "mlartifacts"
"""Beside a SQLite store: the files of its runs."""

VIEW_TAG = "mlflow.sharedViewState."
"""With a view's name behind it: the tag of an experiment that holds a view of MLflow's UI."""
FILES_VIEW, TRAININGS_VIEW = "files", "trainings"
"""The views that `publish` gives an experiment."""

_SQLITE = "sqlite:///"


def resolve_uri(uri: str, root: Path, environ: Mapping[str, str]) -> str:
    """The tracking store to use: MLFLOW_TRACKING_URI where it is set, else `uri`; relative sqlite paths below `root`.

    An absolute path also holds for `dvc exp run --queue`, which runs in a copy of the project.

    Raises:
      ParamsError: if it is no kind of store that MLflow knows.
    """
    chosen, origin = environ.get("MLFLOW_TRACKING_URI") or uri, "publish.tracking_uri"
    if environ.get("MLFLOW_TRACKING_URI"):
        origin = "MLFLOW_TRACKING_URI"
    try:
        kind = urlsplit(chosen).scheme.split("+")[0]
    except ValueError as error:
        raise ParamsError(f"{origin}: {chosen!r} is no tracking URI: {error}") from None
    if kind not in STORE_KINDS and chosen != "databricks":
        raise ParamsError(
            f"{origin}: {hide_password(chosen)!r} is no tracking URI (known kinds: {', '.join(STORE_KINDS)})"
        )
    _check_shape(chosen, kind, origin)
    if not chosen.startswith(_SQLITE) or chosen.startswith(f"{_SQLITE}/"):
        return chosen
    name, mark, options = chosen.removeprefix(_SQLITE).partition("?")
    # SQLAlchemy ends the path at a question mark, and takes what stands behind a percent sign for a code.
    folder = str(root).replace("%", "%25").replace("?", "%3F")
    return f"{_SQLITE}{folder}/{name}{mark}{options}"


def _check_shape(uri: str, kind: str, origin: str) -> None:
    """Raises ParamsError for an address that names no store."""
    if kind == "sqlite" and not uri.startswith(_SQLITE):
        raise ParamsError(f"{origin}: {uri!r}: expected sqlite:///<file>, with three slashes (four: an absolute path)")
    if kind == "sqlite" and not uri.removeprefix(_SQLITE).partition("?")[0].strip("/"):
        raise ParamsError(f"{origin}: {uri!r} names no file, expected sqlite:///<file>")
    if kind not in ("http", "https"):
        return
    try:
        parts = urlsplit(uri)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        has_host = False
    if not has_host:
        raise ParamsError(f"{origin}: {hide_password(uri)!r}: expected {kind}://<host>, or {kind}://<host>:<port>")


def sqlite_path(uri: str) -> Path:
    """The file of a SQLite store, as SQLAlchemy reads the address: options left out, codes decoded."""
    return Path(unquote(uri.removeprefix(_SQLITE).partition("?")[0]))


def is_local(uri: str) -> bool:
    """Whether the store is a file of this machine, so that there is no server that could be dead."""
    return uri.startswith(("sqlite:", "file:"))


def artifact_root(uri: str) -> str | None:
    """Where a new experiment keeps its files: beside a SQLite store, as URI; None: a server decides for itself."""
    if not uri.startswith(_SQLITE):
        return None
    return (sqlite_path(uri).resolve().parent / ARTIFACTS_FOLDER).as_uri()


def runs_page(uri: str, experiment: str) -> str:
    """Address of an experiment's table of runs in MLflow's UI; of the UI itself where the experiment is not known yet.

    MLflow opens an experiment on an overview that is empty for trainings, and a table without numbers.

    Args:
      uri: Tracking store: a server, or a SQLite file that `make ui` serves.
    """
    if not uri.startswith(_SQLITE):
        return uri if uri.startswith(("http:", "https:")) else UI_ADDRESS
    path, found, view = sqlite_path(uri), None, None
    if path.is_file():
        try:
            with closing(sqlite3.connect(path)) as database:
                query = "SELECT experiment_id FROM experiments WHERE name = ?"
                found = database.execute(query, (experiment,)).fetchone()
                query = "SELECT 1 FROM experiment_tags WHERE experiment_id = ? AND key = ?"
                view = found and database.execute(query, (found[0], VIEW_TAG + FILES_VIEW)).fetchone()
        except sqlite3.Error:
            pass
    if not found:
        return UI_ADDRESS
    chosen = f"&viewStateShareKey={FILES_VIEW}" if view else ""
    return f"{UI_ADDRESS}/#/experiments/{found[0]}/runs?workflowType=machine_learning{chosen}"


def hide_password(uri: str) -> str:
    """The address without user and password, for people and logs."""
    address = urlsplit(uri).netloc
    return uri.replace(address, address.rsplit("@", 1)[-1], 1) if "@" in address else uri


def probe_store(uri: str, timeout_s: float) -> str:
    """Asks a store whether it is there: a server by a question that needs its database, a SQLite file by its lock.

    MLflow itself tries again for minutes in both cases. Other kinds of store are not asked.

    Returns:
      What is wrong, or an empty string.
    """
    if uri.startswith(("http:", "https:")):
        return _probe_server(uri, timeout_s)
    return _probe_sqlite(sqlite_path(uri), timeout_s) if uri.startswith(_SQLITE) else ""


def _probe_server(uri: str, timeout_s: float) -> str:
    """Any answer will do, "forbidden" and "unknown experiment" too, but for that of a broken server (5xx)."""
    question = f"{hide_password(uri).rstrip('/')}/api/2.0/mlflow/experiments/get-by-name?experiment_name=probe"
    try:
        with urllib.request.urlopen(question, timeout=timeout_s):
            return ""
    except urllib.error.HTTPError as error:
        return f"the server answers {error.code} {error.reason}" if error.code >= 500 else ""
    except (OSError, ValueError, HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__


def _probe_sqlite(path: Path, timeout_s: float) -> str:
    try:
        with closing(sqlite3.connect(path, timeout=timeout_s)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
    except sqlite3.Error as error:
        return str(error)
    return ""
