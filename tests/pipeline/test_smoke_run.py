"""The whole DAG as a user runs it, on tiny models: prepare to publish, and again without work."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo
from mlflow import MlflowClient

from stages.core.base.hashing import hash_files

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = yaml.safe_load((ROOT / "examples" / "smoke.yaml").read_text())
MODELS: list[str] = EXAMPLE["models"]
SCHEMES: list[str] = EXAMPLE["schemes"]
NOT_APPLICABLE = {
    ("maskrcnn_tiny", "float32_postprocess_op"): "one-stage",
    ("maskrcnn_tiny", "pruned_int8"): "prune.models",
    ("maskrcnn_tiny", "pruned_qat_int8"): "prune.models",
}


@dataclass(frozen=True)
class SmokeRun:
    """A finished run: its folder, its output, and how to call a command in it."""

    folder: Path
    output: str
    environment: dict[str, str]

    @property
    def rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        metrics = json.loads((self.folder / "models" / "report" / "metrics.json").read_text())
        return {(row["model"], row["scheme"]): row for row in metrics["rows"]}

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    folder = tmp_path_factory.mktemp("smoke")
    environment = {
        # Trainings compute as a user's do: tests/conftest.py states otherwise for the tests' own process.
        **{name: value for name, value in os.environ.items() if name != "ONEDNN_DEFAULT_FPMATH_MODE"},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "stages.run", "examples/smoke.yaml", "--folder", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return SmokeRun(folder, done.stdout, environment)


def test_every_cell_is_in_the_table(smoke: SmokeRun) -> None:
    assert set(smoke.rows) == {(model, scheme) for model in MODELS for scheme in SCHEMES}


def test_every_row_is_ok_or_says_why_not(smoke: SmokeRun) -> None:
    for key, row in smoke.rows.items():
        assert row["status"] == ("not_applicable" if key in NOT_APPLICABLE else "ok"), row
        assert NOT_APPLICABLE.get(key, "") in row["reason"]


def test_the_zeros_of_pruning_are_counted_in_the_files(smoke: SmokeRun) -> None:
    for scheme in ("pruned_int8", "pruned_qat_int8"):
        proof = smoke.folder / "models" / "converted" / "retinanet_mobiledet_tiny" / scheme / "proof.json"
        sparsities = [layer["sparsity"] for layer in json.loads(proof.read_text())["sparsity"]]
        assert sum(abs(sparsity - 0.5) < 0.01 for sparsity in sparsities) > 10
    page = (smoke.folder / "models" / "report" / "index.html").read_text()
    assert "of all weights are zero" in page


@pytest.mark.parametrize("model", MODELS)
def test_float32_is_the_float_model(smoke: SmokeRun, model: str) -> None:
    row = smoke.rows[model, "float32"]
    assert abs(row["box_ap_drop"]) <= 0.2
    assert row["agreement_f1"] is None or row["agreement_f1"] > 0.99
    assert (row["mask_ap"] is not None) == model.startswith("maskrcnn")


def test_numbers_belong_to_the_files(smoke: SmokeRun) -> None:
    for (model, scheme), row in smoke.rows.items():
        if (model, scheme) in NOT_APPLICABLE:
            continue
        folder = smoke.folder / "models" / "converted" / model / scheme
        result = json.loads((folder / "result.json").read_text())
        files = [folder / name for name in (row["artifact"], *result["companions"])]
        assert row["sha256"] == result["sha256"] == hash_files(files)
        assert row["size_bytes"] == sum(path.stat().st_size for path in files)


def test_the_table_is_printed_and_the_page_written(smoke: SmokeRun) -> None:
    assert "maskrcnn_tiny" in smoke.output
    page = (smoke.folder / "models" / "report" / "index.html").read_text()
    assert "retinanet_mobiledet_tiny" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_running_again_does_nothing(smoke: SmokeRun) -> None:
    before = (smoke.folder / "dvc.lock").read_bytes()
    again = smoke.call("dvc", "repro")
    assert again.returncode == 0, again.stderr
    assert "Running stage" not in again.stdout
    assert (smoke.folder / "dvc.lock").read_bytes() == before


def test_publishing_again_adds_nothing(smoke: SmokeRun) -> None:
    before = count_runs(smoke)
    assert before == 1 + len(MODELS) * len(SCHEMES)
    assert smoke.call(sys.executable, "-m", "stages.publish").returncode == 0
    assert count_runs(smoke) == before


def count_runs(smoke: SmokeRun) -> int:
    client = MlflowClient(smoke.environment["MLFLOW_TRACKING_URI"])
    return len(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def test_a_bound_that_is_broken_turns_the_gate_red(smoke: SmokeRun) -> None:
    params = smoke.folder / "params.yaml"
    before = params.read_text()
    tree = yaml.safe_load(before)
    tree["gate"]["max_size_mb"] = 0.001
    params.write_text(yaml.safe_dump(tree))
    try:
        red = smoke.call(sys.executable, "-m", "stages.gate")
    finally:
        params.write_text(before)
    assert red.returncode == 3
    assert "red: retinanet_mobiledet_tiny/float32" in red.stderr


def test_metrics_and_plots_are_known_to_dvc(smoke: SmokeRun) -> None:
    shown = smoke.call("dvc", "metrics", "show", "--json")
    assert shown.returncode == 0, shown.stderr
    assert '"red"' in shown.stdout
    rows = smoke.call("dvc", "metrics", "show", f"models/report/metrics/{MODELS[0]}/float32.json", "--json")
    assert '"box_ap"' in rows.stdout, rows.stderr


def test_dvc_commands_that_ask_git_work(smoke: SmokeRun) -> None:
    for command in (("params", "diff"), ("exp", "show", "--only-changed")):
        done = smoke.call("dvc", *command)
        assert done.returncode == 0, done.stderr


STALE = {
    "stages/core/base/errors.py": set(),
    "stages/core/command_line.py": set(),
    "stages/core/params/steps.py": set(),
    "stages/core/results/validation.py": set(),
    "stages/core/tables/schemes.py": {"convert", "report", "gate"},
    "stages/core/tables/detectors.py": {"train", "prune", "qat", "export", "report", "gate"},
    "stages/core/datasets/voc.py": {"prepare"},
    "stages/core/datasets/prepared.py": {
        *("prepare", "train", "prune", "qat", "export", "reference", "convert", "validate", "benchmark", "report")
    },
    "stages/core/training/fit.py": {"train", "prune", "qat"},
    "stages/core/pruning/kernels.py": {"prune"},
    "stages/core/quantizing/attach.py": {"qat", "export"},
    "stages/core/exporting/boxes.py": {"export"},
    "stages/core/referencing/reference.py": {"reference"},
    "stages/core/converting/ranges.py": {"convert"},
    "stages/core/running/tflite.py": {"convert", "validate", "benchmark"},
    "stages/core/masks/pasting.py": {"validate", "report"},
    "stages/core/validating/agreement.py": {"validate"},
    "stages/core/benchmarking/latency.py": {"benchmark"},
    "stages/core/reporting/templates/style.css": {"report", "gate"},
    "stages/core/gating/gate.py": {"report", "gate"},
    "stages/validate.py": {"validate"},
    "params.yaml report.num_pictures 3": {"report"},
    "params.yaml validate.split test": {"reference", "validate", "benchmark", "report"},
    "params.yaml gate.max_size_mb 7.5": {"report", "gate"},
    "params.yaml publish.timeout_s 5": set(),
    "params.yaml train.common.steps 101": {"train", "prune", "qat"},
}
"""What is changed, a file of code or a parameter, to the stages that are then stale by themselves."""


def change(folder: Path, what: str) -> None:
    """Changes one thing in a run's folder."""
    file, *parameter = what.split()
    path = folder / file
    if not parameter:
        path.write_text(path.read_text() + "\n")
        return
    tree = section = yaml.safe_load(path.read_text())
    *parents, key = parameter[0].split(".")
    for parent in parents:
        section = section[parent]
    assert key in section
    section[key] = yaml.safe_load(parameter[1])
    path.write_text(yaml.safe_dump(tree, sort_keys=False))


FILES = [what for what in STALE if " " not in what]
PARAMETERS = [what for what in STALE if " " in what]


def put_in_batches(files: list[str]) -> list[list[str]]:
    """The files in as few batches as there can be with no two files of one folder in a batch."""
    batches: list[dict[Path, str]] = []
    for file in files:
        folder = Path(file).parent
        batch = next((batch for batch in batches if folder not in batch), None)
        if batch is None:
            batches.append(batch := {})
        batch[folder] = file
    return [list(batch.values()) for batch in batches]


def ask_dvc(folder: Path, changes: list[str]) -> list[tuple[str, str]]:
    """(stage, what it calls changed) for all that `dvc status` says after these changes, which are then undone."""
    before = {path: path.read_bytes() for path in (folder / what.split()[0] for what in changes)}
    try:
        for what in changes:
            change(folder, what)
        with Repo(str(folder)) as repo:
            status = repo.status()
    finally:
        for path, content in before.items():
            path.write_bytes(content)
    reasons = [(stage, reason) for stage, found in status.items() for reason in found]
    assert all(set(reason) == {"changed deps"} for _, reason in reasons), status
    # DVC names a stage outside the working directory "path/dvc.yaml:stage@instance".
    return [
        (stage.rpartition(":")[2].partition("@")[0], dep) for stage, reason in reasons for dep in reason["changed deps"]
    ]


@pytest.fixture(scope="module")
def stale(smoke: SmokeRun) -> dict[str, set[str]]:
    """Stages that call each changed file, or a folder that holds it, changed. A batch of files costs one status."""
    found: dict[str, set[str]] = {}
    for batch in put_in_batches(FILES):
        found |= {file: set() for file in batch}
        for stage, dep in ask_dvc(smoke.folder, batch):
            (file,) = [file for file in batch if Path(file).is_relative_to(dep)]
            found[file].add(stage)
    return found


@pytest.mark.parametrize("file", FILES)
def test_a_changed_file_makes_stale_what_it_can_change(stale: dict[str, set[str]], file: str) -> None:
    assert stale[file] == STALE[file]


@pytest.mark.parametrize("what", PARAMETERS)
def test_a_changed_parameter_makes_stale_what_it_can_change(smoke: SmokeRun, what: str) -> None:
    assert {stage for stage, _ in ask_dvc(smoke.folder, [what])} == STALE[what]
