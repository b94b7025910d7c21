"""Run the pipeline: `dvc repro`, then MLflow, then the results table.

Without arguments it runs on the project itself (`make repro`). With a parameter file, as in `python -m examples.run
examples/bccd.yaml`, it runs the same DAG in `runs/bccd/`, beside the project's results; what the file does not name
has the default of stages/core/params. MLflow is shared with the project. Run it again to go on where it stopped.
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
from stages.core.params.tree import load_params, load_yaml, parse_params
from stages.core.tracking.address import resolve_uri

PROJECT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the first status that is not 0: of `dvc repro`, else of publishing."""
    parser = Parser(prog="python -m examples.run", description=str(__doc__).split("\n")[0])
    parser.add_argument("params", type=Path, nargs="?", help="parameter file (default: run on the project itself)")
    parser.add_argument("--folder", type=Path, help="where to run it (default: runs/<name of the file>)")
    args = parser.parse_args(argv)
    uri = resolve_uri(load_params(PROJECT).publish.tracking_uri, PROJECT, os.environ)
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    if args.params is None:
        return run_pipeline(PROJECT, environment)
    folder = (args.folder or PROJECT / "runs" / args.params.stem).resolve()
    tree = read_example(args.params)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".dvc" / "config").exists():
        run(["dvc", "init", "--no-scm", "--quiet", "--force"], folder, environment)
        shutil.copy(PROJECT / ".dvc" / "config", folder / ".dvc" / "config")
        run(["dvc", "config", "core.no_scm", "true"], folder, environment)
    make_folder(folder, tree)
    return run_pipeline(folder, environment)


def run_pipeline(folder: Path, environment: dict[str, str]) -> int:
    """`dvc repro`; what it measured is published and shown also when the gate is red, but not when an earlier stage
    failed: the results would then be those of other parameters.
    """
    status = run(["dvc", "repro"], folder, environment)
    if status and run(["dvc", "status", "--quiet", "--with-deps", "report"], folder, environment):
        return status
    published = run([sys.executable, "-m", "stages.publish"], folder, environment)
    run([sys.executable, "-m", "stages.report", "--table"], folder, environment)
    return status or published


def read_example(path: Path) -> dict[str, Any]:
    """A whole params.yaml: the file's values over the defaults, environment variables in `prepare.path` expanded.

    Raises:
      ParamsError: if the result is not valid, or `prepare.path` names a variable that is not set.
    """
    params = parse_params(load_yaml(path))
    tree: dict[str, Any] = params.model_dump(mode="json", by_alias=True)
    for section in ("common", *params.models):
        tree["train"].setdefault(section, {})
    data = os.path.expandvars(params.prepare.path)
    if unset := re.search(r"\$\{?(\w+)", data):
        raise ParamsError(f"{path}: prepare.path: the environment variable {unset[1]} is not set (found {data!r})")
    if params.prepare.source != "synthetic":
        tree["prepare"]["path"] = str(Path(data).resolve())
    return tree


def make_folder(folder: Path, tree: dict[str, Any]) -> None:
    """A project folder with this code, the same DAG and these parameters; results that are there stay."""
    shutil.rmtree(folder / "stages", ignore_errors=True)
    shutil.copytree(PROJECT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PROJECT / ".dvc" / "plots", folder / ".dvc" / "plots", dirs_exist_ok=True)
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(PROJECT / name, folder / name)
    raw = folder / "data" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROJECT / "data" / "raw" / "README.md", raw)
    (folder / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


def run(command: list[str], folder: Path, environment: dict[str, str]) -> int:
    """Exit status of a command run in `folder`."""
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    run_verb(main)
