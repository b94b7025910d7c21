"""A project that was moved: MLflow notes where files are as absolute addresses, and would still use the old folder."""

import sqlite3
from contextlib import closing

from stages.core.tracking.address import ARTIFACTS_FOLDER, artifact_root, sqlite_path

COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow's database holds addresses of files."""


def settle_moved(uri: str) -> str:
    """Has a SQLite store look for its files beside itself, wherever it is now.

    Only what this project put beside the database is meant: the folder `mlartifacts` of experiments that it made. Files
    that the user keeps elsewhere stay there.

    Returns:
      A line on what was changed; empty where nothing was, and for any other store.
    """
    own = artifact_root(uri)
    if own is None or not sqlite_path(uri).is_file():
        return ""
    try:
        with closing(sqlite3.connect(sqlite_path(uri))) as database, database:
            moved = _find_moved(database, own)
            for former in moved:
                for table, column in COLUMNS:
                    if _has_column(database, table, column):
                        _replace(database, table, column, former, own)
    except sqlite3.Error:
        return ""  # publishing will say what is wrong with the database
    if not moved:
        return ""
    return f"the project was moved: MLflow looks for its files in {own} now, no longer in {', '.join(moved)}"


def _find_moved(database: sqlite3.Connection, own: str) -> list[str]:
    if not _has_column(database, "experiments", "artifact_location"):
        return []
    found = database.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
    return [
        root
        for (root,) in found
        if root and root != own and root.startswith("file:") and root.endswith(f"/{ARTIFACTS_FOLDER}")
    ]


def _has_column(database: sqlite3.Connection, table: str, column: str) -> bool:
    return column in {row[1] for row in database.execute(f"PRAGMA table_info({table})")}


def _replace(database: sqlite3.Connection, table: str, column: str, former: str, own: str) -> None:
    database.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR substr({column}, 1, ?) = ?",
        (own, len(former) + 1, former, len(former) + 1, f"{former}/"),
    )
