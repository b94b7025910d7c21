"""The folder of a run with another parameter file: brought models are where the DAG looks for them."""

from pathlib import Path
from typing import Any

import pytest

from stages.core.base.errors import MissingResultError
from stages.core.launching.run import copy_brought
from stages.core.params.brought import BroughtModel
from tests.frozen_builder import section


def entry(path: str, **changes: Any) -> dict[str, Any]:
    """An entry as `read_example` gives it: every key is there."""
    found: dict[str, Any] = BroughtModel.model_validate(section(path, **changes)).model_dump(mode="json")
    return found


KERAS: dict[str, Any] = {
    "kind": "keras_weights",
    "layout": "matterport",
    "outputs": {"detections": "detections", "masks": "masks"},
    "code": "models/brought/keras/build.py",
    "bound": {"anchors": "models/brought/keras/anchors.npy"},
}


IR: dict[str, Any] = {
    "kind": "openvino",
    "layout": "detections",
    "outputs": {key: key for key in ("boxes", "scores", "classes", "num_detections")},
}


def test_what_brought_models_name_is_copied(tmp_path: Path) -> None:
    project, folder = tmp_path / "project", tmp_path / "run"
    (project / "models" / "brought" / "saved").mkdir(parents=True)
    (project / "models" / "brought" / "keras").mkdir()
    keras = ("keras/it.h5", "keras/build.py", "keras/parts.py", "keras/anchors.npy")
    for name in ("it.pb", "it.txt", "saved/saved_model.pb", "ir.xml", "ir.bin", *keras, "keras/unused.h5"):
        (project / "models" / "brought" / name).write_text(name)
    brought = {
        "it": entry("models/brought/it.pb", labels="models/brought/it.txt"),
        "saved": entry("models/brought/saved"),
        "keras": entry("models/brought/keras/it.h5", **KERAS),
        "ir": entry("models/brought/ir.xml", **IR),
    }
    for _ in range(2):
        copy_brought(project, folder, brought)
    copied = {str(path.relative_to(folder / "models" / "brought")) for path in folder.rglob("*") if path.is_file()}
    assert copied == {"it.pb", "it.txt", "saved/saved_model.pb", "ir.xml", "ir.bin", *keras}


def test_the_dag_has_its_folder_without_any(tmp_path: Path) -> None:
    copy_brought(tmp_path, tmp_path / "run", {})
    assert (tmp_path / "run" / "models" / "brought").is_dir()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingResultError, match=r"brought\.it: .*it\.pb: no such file"):
        copy_brought(tmp_path, tmp_path / "run", {"it": entry("models/brought/it.pb")})
