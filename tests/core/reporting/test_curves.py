import json
from pathlib import Path

import pytest

from stages.core.base.errors import ArtifactError
from stages.core.reporting.curves import read_curves


def test_each_number_becomes_a_curve(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    train = [{"step": 20, "total_loss": 1.0}, {"step": 10, "total_loss": 2.0, "learning_rate": 0.1}]
    path.write_text(json.dumps({"train": train, "validation": [{"step": 20, "box_ap": None, "mask_ap": 30}]}))
    curves = {curve.name: curve for curve in read_curves(path)}
    assert curves["train/total_loss"].points == ((10, 2.0), (20, 1.0))
    assert curves["train/learning_rate"].points == ((10, 0.1),)
    assert "validation/box_ap" not in curves
    assert curves["validation/mask_ap"].is_ap


def test_no_history_is_no_curve(tmp_path: Path) -> None:
    assert read_curves(tmp_path / "history.json") == ()


def test_a_damaged_history_is_named(tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"history\.json"):
        read_curves(tmp_path / "history.json")
