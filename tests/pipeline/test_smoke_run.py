"""The whole DAG as a user runs it, on tiny models: prepare to publish, and again without work."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo
from mlflow import MlflowClient
from mlflow.entities import Run
from retraining_clone import Clone, give_results, make_clone, make_origin

from stages.core.base.hashing import hash_files
from tests.mlflow_server import running_server

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
        **os.environ,
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
    before = find_runs(smoke.environment["MLFLOW_TRACKING_URI"])
    assert len(before) == count_expected_runs(smoke)
    assert smoke.call(sys.executable, "-m", "stages.publish").returncode == 0
    assert len(find_runs(smoke.environment["MLFLOW_TRACKING_URI"])) == len(before)


def test_trainings_were_streamed_into_the_runs_that_publish_completed(smoke: SmokeRun) -> None:
    published = next(line for line in smoke.output.splitlines() if line.startswith("published to"))
    completed = int(published.split(" completed")[0].rpartition(" ")[2])
    assert len(MODELS) <= completed <= len(list(smoke.folder.glob("models/*/*/history.json"))), published
    for run in find_runs(smoke.environment["MLFLOW_TRACKING_URI"]):
        if run.data.tags["role"] == "training":
            assert {"train/total_loss", "train/learning_rate", "train/images_per_second"} < set(run.data.metrics)
            assert run.info.status == "FINISHED"
            assert run.data.tags["mlflow.parentRunId"]


def test_no_two_numbers_are_always_equal_and_names_are_plain(smoke: SmokeRun) -> None:
    by_role: dict[str, list[dict[str, float]]] = {}
    for run in find_runs(smoke.environment["MLFLOW_TRACKING_URI"]):
        by_role.setdefault(run.data.tags["role"], []).append(run.data.metrics)
    assert set(by_role) == {"parent", "training", "child"}
    for found in by_role.values():
        names = {name for metrics in found for name in metrics}
        assert not [name for name in names if " " in name]
        columns = {name: [metrics.get(name) for metrics in found] for name in names}
        # Barely trained models have zeros and whole numbers by chance.
        told = {name: values for name, values in columns.items() if any(value and value % 1 for value in values)}
        # A class that is the only one found has the number of all classes.
        pairs = [
            (name, other)
            for name, other in combinations(sorted(told), 2)
            if told[name] == told[other] and is_of_a_class(name) == is_of_a_class(other)
        ]
        assert pairs == []


def is_of_a_class(metric: str) -> bool:
    return "_per_class/" in metric


def find_runs(uri: str) -> list[Run]:
    client = MlflowClient(uri)
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def count_expected_runs(smoke: SmokeRun) -> int:
    """One for the state, one a training, one a row."""
    return 1 + len(list(smoke.folder.glob("models/*/*/history.json"))) + len(MODELS) * len(SCHEMES)


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


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("- maskrcnn_tiny", "- maskrcnn_tinyy", ("maskrcnn_tinyy", "'maskrcnn_tiny'")),
        ("  maskrcnn_tiny:", "  maskrcnn_tinyy:", ("maskrcnn_tinyy", "'maskrcnn_tiny'")),
        ("  maskrcnn_tiny:", "  maskrcnn_resnet50:", ("train.maskrcnn_tiny", "`maskrcnn_tiny: {}` will do")),
    ],
    ids=["model", "section", "no-section"],
)
def test_dvc_repro_says_what_is_wrong_with_a_model(smoke: SmokeRun, old: str, new: str, says: tuple[str, ...]) -> None:
    path = smoke.folder / "params.yaml"
    before = path.read_text()
    assert before.count(old) == 1
    try:
        path.write_text(before.replace(old, new))
        done = smoke.call("dvc", "repro")
    finally:
        path.write_text(before)
        smoke.call("dvc", "checkout", "check")
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert all(part in line for part in says), line
    assert "Parameters" not in done.stderr
    assert not smoke.call("dvc", "status", "--quiet").returncode


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
    "stages/core/validating/agreement.py": {"validate", "report"},
    "stages/core/benchmarking/latency.py": {"benchmark"},
    "stages/core/reporting/templates/style.css": {"report", "gate"},
    "stages/core/gating/gate.py": {"report", "gate"},
    "stages/validate.py": {"validate"},
    "params.yaml report.num_pictures 3": {"report"},
    "params.yaml validate.split test": {"reference", "validate", "benchmark", "report"},
    "params.yaml gate.max_size_mb 7.5": {"report", "gate"},
    "params.yaml publish.timeout_s 5": set(),
    "params.yaml train.common.steps 101": {"check", "train", "prune", "qat"},
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


@dataclass(frozen=True)
class Retraining:
    """A checkout whose results CI has pushed and recorded, and a fresh clone that has pulled them.

    The clones publish to a server: the run itself has published to a file.
    """

    first: Clone
    second: Clone
    recorded: str
    server: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(scope="module")
def retraining(smoke: SmokeRun, server: str, tmp_path_factory: pytest.TempPathFactory) -> Retraining:
    folder = tmp_path_factory.mktemp("retraining")
    origin = make_origin(folder, smoke.folder / "params.yaml", smoke.environment)
    first = make_clone(origin, folder / "first", smoke.environment, server)
    give_results(first, smoke.folder)
    first.make("push")
    recorded = first.make("record")
    second = make_clone(origin, folder / "second", smoke.environment, server)
    second.make("pull")
    return Retraining(first, second, recorded, server)


def test_results_are_recorded_in_a_commit_that_starts_nothing(retraining: Retraining) -> None:
    assert "recorded" in retraining.recorded
    assert retraining.second.check("git", "show", "--name-only", "--format=%s", "HEAD").split("\n")[2:] == [
        "dvc.lock",
        "",
    ]
    assert "[skip ci]" in retraining.second.check("git", "log", "-1", "--format=%s")
    assert "nothing to record" in retraining.first.make("record")


def test_a_fresh_clone_pulls_everything_and_runs_nothing(smoke: SmokeRun, retraining: Retraining) -> None:
    said = retraining.second.make("repro")
    assert "Running stage" not in said
    assert f"published to {retraining.server}: {count_expected_runs(smoke)} runs new" in said
    for model, scheme in set(smoke.rows) - set(NOT_APPLICABLE):
        path = Path("models", "converted", model, scheme, "result.json")
        assert (retraining.second.folder / path).read_bytes() == (smoke.folder / path).read_bytes()


def test_what_is_green_is_promoted(retraining: Retraining) -> None:
    said = retraining.second.make("promote", "SCHEME=int8")
    assert all(f"smoke-{model}-int8 version 1 is champion" in said for model in MODELS)
    assert "is champion already" in retraining.second.make("promote", "SCHEME=int8", f"MODEL={MODELS[0]}")


def test_the_server_has_the_runs_and_files_that_the_database_has(smoke: SmokeRun, retraining: Retraining) -> None:
    local, remote = (
        {run.info.run_name: run for run in find_runs(uri)}
        for uri in (smoke.environment["MLFLOW_TRACKING_URI"], retraining.server)
    )
    assert set(local) == set(remote)
    for name, run in local.items():
        assert run.data.metrics == remote[name].data.metrics, name
        shown = [[entry.dataset.digest for entry in found.inputs.dataset_inputs] for found in (run, remote[name])]
        assert shown[0] == shown[1] != []
    client = MlflowClient(retraining.server)
    file = client.download_artifacts(remote[f"{MODELS[0]}/int8"].info.run_id, "model/model.tflite")
    original = smoke.folder / "models" / "converted" / MODELS[0] / "int8" / "model.tflite"
    assert Path(file).read_bytes() == original.read_bytes()


def test_the_comment_has_gate_table_and_pictures(retraining: Retraining) -> None:
    said = retraining.second.make("comment", "BASE=HEAD~1")
    assert said.startswith("### Gate green")
    assert all(f"| {model} |" in said or f"`{model}`" in said for model in MODELS)
    pictures = [line.rpartition("(")[2].rstrip(")") for line in said.splitlines() if line.startswith("![")]
    assert pictures
    assert all((retraining.second.folder / picture).is_file() for picture in pictures)


@pytest.mark.parametrize(
    ("parameter", "stale"),
    [
        ("train.maskrcnn_tiny.batch_size 3", {"check", "train@maskrcnn_tiny", "prune@maskrcnn_tiny"}),
        ("prepare.synthetic.num_train 65", {"prepare"}),
    ],
    ids=["one-model", "data"],
)
def test_a_change_retrains_what_depends_on_it(retraining: Retraining, parameter: str, stale: set[str]) -> None:
    with changed(retraining.second.folder, parameter):
        found = json.loads(retraining.second.check("dvc", "status", "--json"))
    assert {stage for stage in found if not stage.startswith("qat")} == stale
    assert all("maskrcnn_tiny" in stage for stage in found if stage.startswith("qat"))


def test_a_red_gate_is_recorded_and_fails(retraining: Retraining) -> None:
    change(retraining.second.folder, "params.yaml gate.max_size_mb 0.001")
    said = retraining.second.make("repro", status=2)
    assert said.count("Running stage") == 2
    said = retraining.second.make("comment", "BASE=HEAD")
    assert said.startswith("### Gate red")
    assert "max_size_mb" in said
    assert "recorded" in retraining.second.make("record")
    assert "NO  gate: " in retraining.second.make("promote", "SCHEME=int8", status=2)


def test_results_of_other_parameters_are_not_recorded(retraining: Retraining) -> None:
    with changed(retraining.first.folder, "report.num_pictures 3"):
        assert "run make repro" in retraining.first.make("record")


def test_without_a_remote_there_is_nothing_to_pull(retraining: Retraining) -> None:
    retraining.first.check("dvc", "remote", "remove", "storage")
    assert "no DVC remote" in retraining.first.make("pull")


@contextmanager
def changed(folder: Path, parameter: str) -> Iterator[None]:
    """One parameter, changed meanwhile."""
    path = folder / "params.yaml"
    before = path.read_bytes()
    change(folder, f"params.yaml {parameter}")
    try:
        yield
    finally:
        path.write_bytes(before)
