"""The rules that a machine can hold: stages, dependencies, paths and parameters say the same everywhere."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from stages.core.base import layout as layout_module
from stages.core.base.layout import Layout
from stages.core.command_line import MODEL_SUMMARIES, SCHEME_SUMMARIES
from stages.core.params.steps import MAX_AP_DROP
from stages.core.params.training import TrainSettings
from stages.core.params.tree import Params, load_params, parse_params
from stages.core.results.kinds import Variant
from stages.core.tables.detectors import DETECTORS
from stages.core.tables.schemes import SCHEMES

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "stages" / "core"
DAG: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
COMMANDS = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")
AROUND_THE_DAG = {
    "cross_validate",
    "publish",
    "follow",
    "publish_experiments",
    "promote",
    "sweep",
    "run",
    "import_config",
    "export_config",
    "predict",
    "inspect",
    "bisect",
}
"""Commands that are no stages: they start the DAG, write its parameters, use its files, or read dvc.lock, which is
complete only once the DAG has run."""
PLUMBING = ("stages/core/base", "stages/core/params", "stages/core/results", "stages/core/command_line.py")
"""What every stage uses and no stage depends on: it moves values, whose changes DVC sees by themselves.

See docs/decisions/0012-what-a-change-retriggers.md.
"""
MOST_CODE_PATHS_OF_TRAIN = 5
MOST_LINES_OF_THE_DAG = 240
PACKAGE_ENTRIES = {
    "prepare": "datasets",
    "train": "training",
    "prune": "pruning",
    "qat": "quantizing",
    "export": "exporting",
    "reference": "referencing",
    "convert": "converting",
    "validate": "validating",
    "benchmark": "benchmarking",
    "report": "reporting",
    "gate": "gating",
    "publish": "tracking",
    "follow": "tracking",
    "run": "launching",
    "sweep": "launching",
    "promote": "promoting",
    "import_config": "tfod",
    "export_config": "tfod",
    "predict": "predicting",
    "inspect": "inspecting",
    "bisect": "bisecting",
}
"""Command to the package whose module of the same name does its work."""


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
    return names


def is_plumbing(path: Path) -> bool:
    return any(path == ROOT / entry or ROOT / entry in path.parents for entry in PLUMBING)


@cache
def closure(path: Path) -> frozenset[Path]:
    """Our files that importing `path` can reach, lazily imported ones included; plumbing and what it imports is not."""
    seen, todo = {path}, [path]
    while todo:
        for name in imported_names(todo.pop()):
            found = module_path(name) if name.startswith("stages") else None
            if found and found not in seen and not is_plumbing(found):
                seen.add(found)
                todo.append(found)
    return frozenset(seen)


def code_deps(stage: str) -> list[Path]:
    return [ROOT / dep for dep in DAG[stage]["deps"] if dep.startswith("stages/")]


def is_covered(path: Path, deps: list[Path]) -> bool:
    return any(path == dep or dep in path.parents for dep in deps)


def public_definitions() -> dict[str, list[str]]:
    """Public functions and classes by name, with the modules that define them."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in CORE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(ROOT)))
    return found


def test_commands_are_the_stages() -> None:
    assert set(COMMANDS) - AROUND_THE_DAG == set(DAG)


@pytest.mark.parametrize("stage", sorted(DAG))
def test_dependencies_cover_the_imports(stage: str) -> None:
    missing = [
        str(path.relative_to(ROOT))
        for path in closure(ROOT / "stages" / f"{stage}.py")
        if path.name != "__init__.py" and not is_covered(path, code_deps(stage))
    ]
    assert not missing, f"dvc.yaml: {stage}: deps lack {sorted(missing)}"


@pytest.mark.parametrize("stage", sorted(DAG))
def test_dependencies_exist_and_are_used(stage: str) -> None:
    reached = closure(ROOT / "stages" / f"{stage}.py")
    for dep in code_deps(stage):
        assert dep.exists(), dep
        assert any(is_covered(path, [dep]) for path in reached), f"{stage} does not use {dep}"
        assert not is_plumbing(dep), f"{stage} depends on {dep}"


def test_the_dag_stays_small() -> None:
    assert len(code_deps("train")) <= MOST_CODE_PATHS_OF_TRAIN
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= MOST_LINES_OF_THE_DAG


def test_plumbing_exists() -> None:
    assert all((ROOT / entry).exists() for entry in PLUMBING)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_thin(command: str) -> None:
    assert len((ROOT / "stages" / f"{command}.py").read_text().splitlines()) <= 45


@pytest.mark.parametrize("command", sorted(PACKAGE_ENTRIES))
def test_every_package_has_an_entry_named_after_its_command(command: str) -> None:
    entry = CORE / PACKAGE_ENTRIES[command] / f"{command}.py"
    assert entry.is_file()
    assert entry in closure(ROOT / "stages" / f"{command}.py")


def test_no_two_functions_or_classes_share_a_name() -> None:
    shared = {name: modules for name, modules in public_definitions().items() if len(modules) > 1}
    assert not shared


def names_in(value: Any) -> set[str]:
    """Every text in a constant: alone, in a tuple, or among the values of a mapping."""
    if isinstance(value, str):
        return {value}
    parts = value.values() if hasattr(value, "values") else value if isinstance(value, tuple) else ()
    return {name for part in parts for name in names_in(part)}


def test_file_names_below_models_and_data_are_the_layouts() -> None:
    constants = [value for name, value in vars(layout_module).items() if name.isupper()]
    names = {name for value in constants for name in names_in(value)}
    assert {"result.json", "model.tflite", "model.bin", "annotations.json", "saved_model"} <= names
    strays = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path in (ROOT / "stages").rglob("*.py")
        if path != Path(layout_module.__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not strays


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
        layout.label_map,
        layout.calibration,
        layout.prepare_report,
        layout.checked,
        layout.variant(model, Variant.TRAINED),
        layout.variant(model, Variant.PRUNED),
        layout.variant(model, "${item.step.variant}"),
        layout.exported(model, "${item.variant}"),
        layout.reference(model),
        layout.converted(model, scheme),
        layout.validated(model, scheme),
        layout.validated_outputs(model, scheme),
        layout.benchmarked(model, scheme),
        layout.report,
    }
    assert outs == {str(path) for path in known}


def test_every_parameter_is_listed_by_a_stage() -> None:
    listed = {param for stage in DAG.values() for param in stage.get("params", [])}
    sections = {param.split(".")[0] for param in listed}
    names = {field.alias or name for name, field in Params.model_fields.items()}
    assert names - {"publish", "promote"} <= sections
    assert {"train.common", "train.${item.model}"} <= listed


def params_file() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    return tree


def test_params_file_holds_every_detector() -> None:
    assert set(params_file()["train"]) == {"common", *DETECTORS}
    load_params(ROOT)


def test_params_file_names_every_training_parameter() -> None:
    tree = params_file()["train"]
    named = set(tree["common"]).union(*(section for section in tree.values()))
    assert set(TrainSettings.model_fields) == named


@pytest.mark.parametrize(
    "name", [name for name in Params.model_fields if name not in ("brought", "models", "schemes", "train")]
)
def test_params_file_names_every_parameter(name: str) -> None:
    section = Params.model_fields[name]
    known = {field.alias or key for key, field in section.annotation.model_fields.items()}  # type: ignore[union-attr]
    assert set(params_file()[section.alias or name]) == known


OF_THE_DEFAULT_RUN = {"prune.models", "qat.models", "gate.floors", "train.common.steps", "train.common.batch_size"}
"""What params.yaml states for its own models, and has no default that would fit others."""


def leaves(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Values by dotted key, without those of the default run alone."""
    if prefix in OF_THE_DEFAULT_RUN:
        return {}
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        key: value for name, part in tree.items() for key, value in leaves(part, f"{prefix}.{name}".lstrip(".")).items()
    }


def test_defaults_in_code_are_those_of_the_params_file() -> None:
    tree = params_file()
    defaults = parse_params({"models": tree["models"], "schemes": tree["schemes"]})
    in_code = defaults.model_dump(mode="json", by_alias=True)
    in_code["train"] = {"common": TrainSettings().model_dump(mode="json")}
    tree["train"] = {"common": TrainSettings.model_validate(tree["train"]["common"]).model_dump(mode="json")}
    assert leaves(in_code) == leaves(tree)


def test_tables_and_what_is_said_of_their_rows_agree() -> None:
    assert list(MODEL_SUMMARIES) == list(DETECTORS)
    assert list(SCHEME_SUMMARIES) == list(SCHEMES)
    assert list(MAX_AP_DROP) == list(SCHEMES)


def test_names_can_be_stage_names() -> None:
    assert not [name for name in (*DETECTORS, *SCHEMES) if "-" in name]


def param_sections(section: type[BaseModel]) -> set[type[BaseModel]]:
    """A section of params.yaml and all sections within it."""
    found = {section}
    for field in section.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= param_sections(kind)
    return found


def test_sections_are_frozen_and_strict() -> None:
    sections = param_sections(Params) | param_sections(TrainSettings)
    assert {"Params", "GateParams", "FloorParams", "AnchorParams"} <= {section.__name__ for section in sections}
    for section in sections:
        assert section.model_config.get("frozen"), section
        assert section.model_config.get("extra") == "forbid", section


def test_modules_stay_readable() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines}"
        for path in (ROOT / "stages").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 300
    ]
    assert not long


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    for path in (ROOT / "stages").rglob("__init__.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        # Python runs the commands' package before a command's own imports: only there can signals be seen to so early.
        assert len(tree.body) == 1 or path == ROOT / "stages" / "__init__.py", path


def test_every_locked_package_is_in_the_table_of_licences() -> None:
    lock = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    rows = re.findall(r"^\| (\S+) \| (\S+) \| .+ \|$", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE)
    listed = {(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in rows}
    assert len(lock) > 100
    assert not {pin for pin in lock if pin not in listed}, "run `make licences`"
