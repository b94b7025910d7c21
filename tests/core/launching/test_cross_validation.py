"""Cross-validation: folds as DVC experiments of a small DAG, each done once, and their spread."""

from pathlib import Path

import builders
import pytest
import yaml

from stages.core.base.errors import ParamsError
from stages.core.launching.cross_validation import Spread, collect_folds, cross_validate, folds_to_text
from stages.core.results.table import Metrics, Row
from tests.made_up_project import write_made_up_project

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import json, yaml
fold = yaml.safe_load(open("params.yaml"))["prepare"]["split"]["fold"]
open("log.txt", "a").write(f"{fold}\\n")
row = json.load(open("stages/row.json"))
row["box_ap"] = 50.0 + 10 * fold
json.dump({"split": "val", "num_images": 3, "rows": [row]}, open("metrics.json", "w"))
"""


def row(box_ap: float | None, mask_ap: float | None = None, scheme: str = "float32", lost: float | None = None) -> Row:
    return builders.row(
        model="retinanet_mobiledet_tiny",
        scheme=scheme,
        box_ap=box_ap,
        mask_ap=mask_ap,
        box_trained_drop=lost,
        mask_trained_drop=lost and -lost,
    )


def metrics(*rows: Row) -> Metrics:
    return Metrics(split="val", num_images=4, rows=rows)


def test_mean_and_spread_of_the_folds() -> None:
    folds = [
        metrics(row(50, 40, lost=1.5), row(48, scheme="int8")),
        metrics(row(60, 41, lost=0.5)),
        metrics(row(70, None), row(50, None, "int8")),
    ]
    table = folds_to_text(collect_folds(folds))
    assert "| float32 | 60.0 ± 10.0 | 50.0 60.0 70.0 | 1.0 ± 0.7 | 40.5 ± 0.7 | 40.0 41.0 - | -1.0 ± 0.7 |" in table
    assert "| retinanet_mobiledet_tiny | int8 | 49.0 ± 1.4 | 48.0 - 50.0 | - | - | - | - |" in table


def test_one_value_has_no_deviation_and_none_no_mean() -> None:
    assert (Spread(values=(50.0, None)).mean, Spread(values=(50.0, None)).deviation) == (50.0, None)
    assert Spread(values=(None, None)).mean is None


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose DAG is one stage that makes up a results table and counts its runs."""
    project, runs = tmp_path / "project", tmp_path / "runs.txt"
    script = SCRIPT.replace("log.txt", str(runs)).replace("metrics.json", "models/report/metrics.json")
    tree = write_made_up_project(project, script, row(0.0, 20.0), params="prepare")
    (tmp_path / "cv.yaml").write_text(yaml.safe_dump({**tree, "prepare": {"split": {"folds": 2}}}))
    return project


@pytest.mark.slow
def test_every_fold_runs_once_and_the_project_stays_as_it_was(project: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    for _ in range(2):
        said: list[str] = []
        assert cross_validate(project, tmp_path / "cv.yaml", tmp_path / "cv", said.append) == 0
        assert "| 55.0 ± 7.1 | 50.0 60.0 | - | 20.0 ± 0.0 |" in said[-1]
    assert said[:-1] == ["fold-0: done before", "fold-1: done before"]
    assert (tmp_path / "runs.txt").read_text().split() == ["0", "1"]
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_no_folds_is_an_error(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"prepare\.split\.folds is null"):
        cross_validate(project, project / "params.yaml", tmp_path / "cv", print)
