"""A project whose DAG is one stage that makes up a results table."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from stages.core.results.table import Row

ROOT = Path(__file__).resolve().parents[1]


def write_made_up_project(project: Path, script: str, row: Row, params: str) -> dict[str, Any]:
    """Writes the project and returns its params.yaml.

    Args:
      script: What the stage runs; it reads stages/row.json and writes models/report/metrics.json.
      row: That row.
      params: Section that the stage depends on.
    """
    for name in ("stages", ".dvc/plots", "data/raw"):
        (project / name).mkdir(parents=True)
    for name in (".dvc/config", ".dvcignore", ".gitignore", "data/raw/README.md"):
        shutil.copy(ROOT / name, project / name)
    (project / "stages" / "make_up.py").write_text(f'import os\nos.makedirs("models/report", exist_ok=True){script}')
    (project / "stages" / "row.json").write_text(json.dumps(vars(row)))
    stage = {"cmd": "python stages/make_up.py", "params": [params], "deps": ["stages"], "outs": ["models/report"]}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"report": stage}}))
    tree: dict[str, Any] = {"models": [row.model], "schemes": [row.scheme]}
    (project / "params.yaml").write_text(yaml.safe_dump(tree))
    return tree
