"""Run the pipeline on other parameters in a folder of its own; the project's results stay as they are.

`python -m examples.run examples/bccd.yaml` lays the file over params.yaml key by key, expands environment variables in
`prepare.path`, and runs the same DAG in `runs/bccd/`. MLflow is shared with the project. Run it again to go on where it
stopped.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from stages.core.command import Parser, run_verb
from stages.core.errors import ParamsError
from stages.core.params import load_yaml, merge_trees, parse_params

PROJECT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the folder, then repro, publish and table in it; returns the status of `dvc repro`."""
    parser = Parser(prog="python -m examples.run", description=__doc__.split("\n")[0])
    parser.add_argument("overlay", type=Path, help="YAML file laid over params.yaml")
    parser.add_argument("--folder", type=Path, help="where to run (default: runs/<name of the overlay>)")
    args = parser.parse_args(argv)
    folder = (args.folder or PROJECT / "runs" / args.overlay.stem).resolve()
    make_folder(folder, overlay_params(args.overlay))
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking_uri()}
    if not (folder / ".dvc").exists():
        run(["dvc", "init", "--no-scm", "--quiet"], folder, environment)
        run(["dvc", "config", "core.analytics", "false"], folder, environment)
        run(["dvc", "config", "core.check_update", "false"], folder, environment)
    status = run(["dvc", "repro"], folder, environment)
    if (folder / "models" / "report" / "metrics.json").exists():
        run([sys.executable, "-m", "stages.publish"], folder, environment)
        run([sys.executable, "-m", "stages.report", "--table"], folder, environment)
    return status


def overlay_params(overlay: Path) -> dict[str, Any]:
    """params.yaml with `overlay` laid over it, checked.

    Raises:
      ParamsError: if the result is not valid, or `prepare.path` names a variable that is not set.
    """
    tree = merge_trees(load_yaml(PROJECT / "params.yaml"), load_yaml(overlay))
    path = os.path.expandvars(str(tree["prepare"]["path"]))
    unset = re.search(r"\$\{?(\w+)", path)
    if unset:
        raise ParamsError(f"{overlay}: prepare.path: the environment variable {unset[1]} is not set (found {path!r})")
    if tree["prepare"].get("source") != "synthetic":
        tree["prepare"]["path"] = str(Path(path).resolve())
    parse_params(tree)
    return tree


def make_folder(folder: Path, tree: dict[str, Any]) -> None:
    """A project folder with this code, the same DAG and these parameters; results that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "stages", ignore_errors=True)
    shutil.copytree(PROJECT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "dvc.yaml", folder / "dvc.yaml")
    raw = folder / "data" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROJECT / "data" / "raw" / "README.md", raw)
    (folder / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


def tracking_uri() -> str:
    """The project's MLflow, so that runs of all folders can be compared."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{PROJECT / 'mlflow.db'}"


def run(command: list[str], folder: Path, environment: dict[str, str]) -> int:
    """Exit status of a command run in `folder`."""
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    run_verb(main)
