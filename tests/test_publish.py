import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stages.core.base.layout import Layout
from stages.publish import main
from stages.report import main as report
from tests.builders import write_cell, write_dvc_lock, write_project

MODEL, SCHEMES = "retinanet_mobiledet_edgetpu", ("float32", "int8")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A reported project whose int8 row is red."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    layout = write_project(tmp_path, (MODEL,), SCHEMES, params={"report": {"num_pictures": 1}})
    write_cell(layout, MODEL, "int8", validation_changes={"box_ap_drop": 3.1})
    write_dvc_lock(layout)
    report(["--root", str(layout.root)])
    return layout


@pytest.fixture
def mute_server() -> Iterator[str]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def tags_of(database: Path, name: str) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        return {value for (value,) in connection.execute("SELECT value FROM tags WHERE key = ?", (name,))}


def test_a_dead_server_costs_a_warning_and_publishing_later_catches_up(
    layout: Layout, mute_server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    args = ["--root", str(layout.root)]
    with monkeypatch.context() as there:
        there.setenv("MLFLOW_TRACKING_URI", mute_server)
        start = time.monotonic()
        capfd.readouterr()
        assert main(args) == 0
        assert time.monotonic() - start < 20
        warning = capfd.readouterr().err.splitlines()
        assert len(warning) == 1
        assert warning[0].startswith(f"warning: not published to {mute_server}: ")

    assert main(args) == 0
    first = capfd.readouterr()
    assert first.out == f"published to sqlite:///{layout.root}/mlflow.db: 4 runs new, 0 completed, 0 unchanged\n"
    assert first.err == ""
    assert main(args) == 0
    assert "0 runs new, 0 completed, 4 unchanged" in capfd.readouterr().out
    database = layout.root / "mlflow.db"
    assert tags_of(database, "gate") == {"red"}
    assert tags_of(database, "verdict") == {"pass", "fail"}
    assert len(tags_of(database, "dvc_lock_sha256")) == 1
    assert list((layout.root / "mlartifacts").rglob("model.tflite"))


def test_no_dvc_lock_is_said(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    layout.dvc_lock.unlink()
    assert main(["--root", str(layout.root)]) == 0
    assert "no dvc.lock: this publication is known by the hash of metrics.json" in capsys.readouterr().err
