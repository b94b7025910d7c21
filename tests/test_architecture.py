"""The house's rules that a machine can hold: stages, dependencies, paths and parameters say the same everywhere."""

import ast
import inspect
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from stages.core.detectors.table import DETECTORS
from stages.core.layout import Layout
from stages.core.params.training import TrainSettings
from stages.core.params.tree import Params, load_params, parse_params
from stages.core.schemes import SCHEMES, Variant

ROOT = Path(__file__).resolve().parent.parent
DAG: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
VERBS = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")
AFTER_THE_DAG = {"publish"}
"""Reads dvc.lock, which is complete only once the DAG has run."""


def module_path(name: str) -> Path | None:
    """File of a module of ours, or None."""
    base = ROOT / Path(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("stages.core."):
            names.add(node.value)  # a module that is started as a process of its own
    return names


@cache
def closure(path: Path) -> frozenset[Path]:
    """Our files that importing `path` can reach, lazily imported ones included."""
    seen, todo = {path}, [path]
    while todo:
        for name in imported_names(todo.pop()):
            found = module_path(name) if name.startswith("stages") else None
            if found and found not in seen:
                seen.add(found)
                todo.append(found)
    return frozenset(seen)


def test_verbs_are_the_stages() -> None:
    assert set(VERBS) - AFTER_THE_DAG == set(DAG)


@pytest.mark.parametrize("verb", sorted(DAG))
def test_dependencies_cover_the_imports(verb: str) -> None:
    deps = [ROOT / dep for dep in DAG[verb]["deps"] if dep.startswith("stages/")]
    missing = [
        str(path.relative_to(ROOT))
        for path in closure(ROOT / "stages" / f"{verb}.py")
        if path.name != "__init__.py" and not any(path == dep or dep in path.parents for dep in deps)
    ]
    assert not missing, f"dvc.yaml: {verb}: deps lack {sorted(missing)}"


@pytest.mark.parametrize("verb", sorted(DAG))
def test_dependencies_exist_and_are_used(verb: str) -> None:
    reached = closure(ROOT / "stages" / f"{verb}.py")
    for dep in (ROOT / dep for dep in DAG[verb]["deps"] if dep.startswith("stages/")):
        assert dep.exists(), dep
        assert any(path == dep or dep in path.parents for path in reached), f"{verb} does not use {dep}"


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_are_thin(verb: str) -> None:
    assert len((ROOT / "stages" / f"{verb}.py").read_text().splitlines()) <= 90


def test_outs_are_the_layouts_paths() -> None:
    outs = {
        next(iter(out)) if isinstance(out, dict) else out
        for stage in DAG.values()
        for key in ("outs", "metrics", "plots")
        for out in stage.get(key, [])
    }
    layout, model, scheme = Layout(Path()), "${item.model}", "${item.scheme}"
    known = {
        *(layout.split(split) for split in ("train", "val", "test")),
        layout.labels,
        layout.calibration,
        layout.prepare_report,
        layout.variant(model, Variant.TRAINED),
        layout.variant(model, Variant.PRUNED),
        layout.variant(model, "${item.step.variant}"),
        layout.exported(model, "${item.variant}"),
        layout.converted(model, scheme),
        layout.validated(model, scheme),
        layout.moved(model, scheme),
        layout.benchmarked(model, scheme),
        layout.report,
    }
    assert outs == {str(path) for path in known}


def test_every_parameter_is_listed_by_a_stage() -> None:
    listed = {param for stage in DAG.values() for param in stage.get("params", [])}
    sections = {param.split(".")[0] for param in listed}
    names = {field.alias or name for name, field in Params.model_fields.items()}
    assert names - {"publish"} <= sections
    assert {"train.common", "train.${item.model}"} <= listed


def test_params_file_holds_every_detector() -> None:
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(tree["train"]) == {"common", *DETECTORS}
    load_params(ROOT)


def test_params_file_names_every_training_knob() -> None:
    tree = yaml.safe_load((ROOT / "params.yaml").read_text())["train"]
    named = set(tree["common"]).union(*(section for section in tree.values()))
    assert set(TrainSettings.model_fields) == named


@pytest.mark.parametrize("name", [name for name in Params.model_fields if name not in ("models", "schemes", "train")])
def test_params_file_names_every_knob(name: str) -> None:
    section = Params.model_fields[name]
    knobs = {field.alias or key for key, field in section.annotation.model_fields.items()}  # type: ignore[union-attr]
    assert set(yaml.safe_load((ROOT / "params.yaml").read_text())[section.alias or name]) == knobs


def test_gate_bounds_are_the_tables() -> None:
    params = parse_params({"models": list(DETECTORS), "schemes": list(SCHEMES)})
    assert params.gate.max_ap_drop == {name: scheme.max_ap_drop for name, scheme in SCHEMES.items()}


def test_names_can_be_stage_names() -> None:
    assert not [name for name in (*DETECTORS, *SCHEMES) if "-" in name]


def test_sections_are_frozen_and_strict() -> None:
    import stages.core.params as module

    for _, section in inspect.getmembers(module, inspect.isclass):
        if issubclass(section, BaseModel) and section is not BaseModel:
            assert section.model_config.get("frozen"), section
            assert section.model_config.get("extra") == "forbid", section


def test_modules_stay_readable() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines}"
        for path in (ROOT / "stages").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 320
        and path.name not in {"params.py", "results.py"}  # one flat list of declarations each
    ]
    assert not long


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    for path in (ROOT / "stages").rglob("__init__.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        assert len(tree.body) == 1, path
