"""The whole pipeline: `dvc repro`, then MLflow, then the results table; on the project or in a folder of its own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from stages.core.base.errors import MissingResultError, ParamsError, UsageError
from stages.core.base.layout import BROUGHT_FOLDER, DEVICES_FOLDER, PARAMS_FILE, PROJECT_VARIABLE
from stages.core.base.stopping import Stopped
from stages.core.launching.following import followed
from stages.core.launching.repository import DAG_FILE, commit_start, start_repository
from stages.core.params.brought import BroughtKind
from stages.core.params.tree import check_sections, load_params, load_yaml, parse_params
from stages.core.tracking.address import resolve_uri


def run_project(project: Path) -> int:
    """Runs the pipeline on the project itself; returns the first status that is not 0.

    Raises:
      ParamsError: if params.yaml is not valid, or lacks a section.
    """
    environment = project_environment(project)
    # The stage `check` looks at some sections only, when they change; DVC looks up those of every stage, and says less.
    check_sections(project)
    return run_pipeline(project, environment)


def run_example(project: Path, params: Path, folder: Path) -> int:
    """Runs the project's DAG with another parameter file in a folder of its own; MLflow is shared with the project.

    Args:
      params: What it does not name has the default of stages/core/params.
      folder: Made, or gone on with where an earlier run stopped.

    Returns:
      The first status that is not 0: of `dvc repro`, else of publishing.
    """
    environment = project_environment(project)
    tree = read_example(params)
    start_repository(project, folder)
    make_folder(project, folder, tree)
    commit_start(folder)
    return run_pipeline(folder, {**environment, PROJECT_VARIABLE: str(project)})


def run_pipeline(folder: Path, environment: dict[str, str]) -> int:
    """`dvc repro`; what it measured is published and shown also when the gate is red, but not when an earlier stage
    failed: the results would then be those of other parameters.
    """
    with followed(folder, environment):
        status = run(["dvc", "repro"], folder, environment)
    if status and run(["dvc", "status", "--quiet", "--with-deps", "report"], folder, environment):
        return status
    published = run([sys.executable, "-m", "stages.publish"], folder, environment)
    # From here, so that the page's path is one that can be opened from here.
    run([sys.executable, "-m", "stages.report", "--table", "--root", str(folder)], Path.cwd(), environment)
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


def make_folder(project: Path, folder: Path, tree: dict[str, Any]) -> None:
    """A project folder with the project's code and DAG and these parameters; results that are there stay."""
    shutil.rmtree(folder / "stages", ignore_errors=True)
    shutil.copytree(project / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(project / ".dvc" / "plots", folder / ".dvc" / "plots", dirs_exist_ok=True)
    for name in (DAG_FILE, ".dvcignore"):
        shutil.copy(project / name, folder / name)
    raw = folder / "data" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    shutil.copy(project / "data" / "raw" / "README.md", raw)
    copy_brought(project, folder, tree.get("brought") or {})
    # A dependency of `report`. The project's device files stay there: they were measured on its models.
    (folder / DEVICES_FOLDER).mkdir(parents=True, exist_ok=True)
    readme = project / DEVICES_FOLDER / "README.md"
    if readme.is_file():
        # DVC warns of a dependency without a file.
        shutil.copy(readme, folder / DEVICES_FOLDER)
    (folder / PARAMS_FILE).write_text(yaml.safe_dump(tree, sort_keys=False))


def copy_brought(project: Path, folder: Path, brought: dict[str, Any]) -> None:
    """Brought models that the parameters name, and all files of theirs, at the same paths as in the project."""
    (folder / BROUGHT_FOLDER).mkdir(parents=True, exist_ok=True)
    readme = project / BROUGHT_FOLDER / "README.md"
    if readme.is_file():
        # The folder is a dependency of `export`: with another content, results would not be those of the project.
        shutil.copy(readme, folder / BROUGHT_FOLDER)
    for name, entry in brought.items():
        for path in list_brought_files(project, entry):
            source, copy = project / path, folder / path
            if not source.exists():
                raise MissingResultError(f"brought.{name}: {source}: no such file")
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, dirs_exist_ok=True)
            else:
                shutil.copy(source, copy)


def list_brought_files(project: Path, entry: dict[str, Any]) -> list[str]:
    """Files and folders that a brought model's entry names; an IR's weights and what code may import lie beside it."""
    code = (entry["code"], entry["substitutions"])
    named = [entry["path"], entry["labels"], *code, *entry["bound"].values()]
    if entry["kind"] == BroughtKind.OPENVINO:
        named.append(str(Path(entry["path"]).with_suffix(".bin")))
    modules = [path for name in code if name for path in (project / name).parent.glob("*.py")]
    return [path for path in named if isinstance(path, str)] + [str(path.relative_to(project)) for path in modules]


def run(command: list[str], folder: Path, environment: dict[str, str]) -> int:
    """Exit status of a command run in `folder`; it ends before this process does when that is told to stop."""
    with subprocess.Popen(command, cwd=folder, env=environment) as process:
        try:
            return process.wait()
        except Stopped:
            process.terminate()
            raise


def project_environment(project: Path) -> dict[str, str]:
    """This process's environment with the tracking store stated absolutely: runs elsewhere publish to it too."""
    if not (project / DAG_FILE).is_file():
        raise UsageError(f"{project}: no {DAG_FILE}; run this in a checkout of the project, or name it with --root")
    return {
        **os.environ,
        "MLFLOW_TRACKING_URI": resolve_uri(load_params(project).publish.tracking_uri, project, os.environ),
    }
