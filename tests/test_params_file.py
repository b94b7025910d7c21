"""params.yaml is written as DVC writes it: an experiment's change is a change of one line."""

import shutil
from pathlib import Path

import pytest

dvc_yaml = pytest.importorskip("dvc.utils.serialize._yaml")

PARAMS = Path(__file__).resolve().parent.parent / "params.yaml"
CHANGES = {
    "convert.calibration_images": 50,
    "gate.max_size_mb": 7.5,
    "train.common.anchors.size": 3.0,
    "train.retinanet_mobiledet_edgetpu.steps": 601,
}


@pytest.mark.parametrize("key", CHANGES)
def test_an_experiment_changes_one_line(key: str, tmp_path: Path) -> None:
    copy = tmp_path / "params.yaml"
    shutil.copy(PARAMS, copy)
    *sections, name = key.split(".")
    with dvc_yaml.modify_yaml(str(copy)) as tree:
        for section in sections:
            tree = tree[section]
        assert name in tree
        tree[name] = CHANGES[key]
    before, after = (path.read_text().splitlines() for path in (PARAMS, copy))
    assert len(before) == len(after)
    changed = [line for line, other in zip(after, before, strict=True) if line != other]
    assert len(changed) == 1
    assert str(CHANGES[key]) in changed[0]
