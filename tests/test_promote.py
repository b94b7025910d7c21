"""`promote` on hand-made files that really run, and a real registry: who becomes champion, who does not, and why."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stages import predict, promote
from stages.core.base.errors import UserError
from stages.core.base.jsonfile import write_json
from stages.core.base.layout import Layout
from stages.core.results.table import Metrics, Verdict
from stages.core.tracking.model_plan import ModelPlan, encode_example
from stages.core.tracking.publish import prepare_environment
from stages.core.tracking.run_plan import Publication, RunPlan
from tests import builders
from tests.tflite_builder import build_detector
from tests.tiny_project import write_conversion, write_tiny_project

prepare_environment(timeout_s=20)
pytest.importorskip("mlflow")
store = pytest.importorskip("stages.core.tracking.store")
versions = pytest.importorskip("stages.core.tracking.registry")

pytestmark = pytest.mark.slow

MODEL, SCHEME = "retinanet_mobiledet_tiny", "int8"
NAME = f"detectors-{MODEL}-{SCHEME}"


@dataclass(frozen=True)
class Project:
    """A project with one measured file at a time, and its registry."""

    layout: Layout
    uri: str

    def publish(self, key: str, content: bytes, *, passes: bool = True) -> None:
        """What `convert`, `report` and `publish` leave behind for a file."""
        folder = self.layout.converted(MODEL, SCHEME)
        shutil.rmtree(folder, ignore_errors=True)
        conversion = write_conversion(self.layout, MODEL, SCHEME, content)
        verdict = Verdict.PASS if passes else Verdict.FAIL
        row = builders.row(model=MODEL, scheme=SCHEME, sha256=conversion.sha256, verdict=verdict)
        write_json(Metrics(split="val", num_images=12, rows=(row,)), self.layout.metrics)
        example = encode_example(next((self.layout.split("val") / "images").iterdir()))
        model = ModelPlan(
            name=f"{MODEL}-{SCHEME}",
            folder=folder,
            sha256=str(conversion.sha256),
            requirements=("numpy==2",),
            example=example,
        )
        run = RunPlan(
            name=key, key=key, content_sha256=key, params={}, metrics={}, artifacts=(), failed=not passes,
            tags={}, model=model if passes else None,
        )  # fmt: skip
        parent = replace(run, name="parent", key=f"parent-{key}", model=None)
        root = (self.layout.root / "mlartifacts").as_uri()
        publication = Publication(experiment="detectors", artifact_root=root, parent=parent, children=(run,))
        store.publish_runs(publication, self.uri)

    def promote(self, *flags: str) -> int:
        return promote.main(["--root", str(self.layout.root), "--model", MODEL, "--scheme", SCHEME, *flags])

    @property
    def measured_sha256(self) -> str:
        result = json.loads((self.layout.converted(MODEL, SCHEME) / "result.json").read_text())
        return str(result["sha256"])

    @property
    def champion(self) -> str | None:
        found = versions.Registry(self.uri).find(NAME, "champion")
        return None if found is None else found.number


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with MLflow's tables, which take seconds to make."""
    path: Path = tmp_path_factory.mktemp("store") / "mlflow.db"
    store.mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def project(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # Files of some kilobytes, run in microseconds: how much slower one is than the other is chance.
    params = {"models": [MODEL], "schemes": [SCHEME], "promote": {"max_latency_ratio": 100}}
    layout = write_tiny_project(tmp_path / "project", params=params)
    shutil.copy(empty_store, layout.root)
    return Project(layout, f"sqlite:///{layout.root}/mlflow.db")


def test_from_the_first_champion_to_the_roll_back(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.publish("one", build_detector())
    assert project.promote("--dry-run") == 0
    assert project.champion is None
    assert project.promote() == 0
    assert project.champion == "1"
    assert project.promote() == 0
    assert f"{NAME} version 1 is champion already" in capsys.readouterr().out

    project.publish("two", build_detector(gain=0.9))
    assert project.promote() == 0
    assert project.champion == "2"
    assert "on the same 12 images; gain +0.00" in capsys.readouterr().out

    assert project.promote("--rollback", "--dry-run") == 0
    assert "1, 2" in capsys.readouterr().out
    assert project.promote("--rollback") == 0
    assert project.champion == "1"
    with pytest.raises(UserError, match="the first champion, so nothing to roll back to"):
        project.promote("--rollback")


def test_a_worse_file_does_not_become_champion(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.publish("one", build_detector())
    project.promote()
    # Dark objects fall below the score threshold.
    project.publish("two", build_detector(gain=0.1))
    assert project.promote() == 3
    said = capsys.readouterr().out
    assert "NO  box AP:" in said
    assert "worse beyond noise" in said
    assert project.champion == "1"


def test_a_red_gate_promotes_nothing(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.publish("one", build_detector())
    project.promote()
    project.publish("two", build_detector(gain=0.9), passes=False)
    assert project.promote() == 3
    assert f"NO  gate: {MODEL}/{SCHEME} fail" in capsys.readouterr().out
    assert project.champion == "1"


def test_another_file_than_the_measured_one_is_not_promoted(project: Project) -> None:
    project.publish("one", build_detector())
    # Converted anew, but neither measured nor published.
    write_conversion(project.layout, MODEL, SCHEME, build_detector(gain=0.9))
    assert project.promote() == 3
    assert project.champion is None


def test_a_file_that_costs_too_much_is_not_promoted(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.publish("one", build_detector())
    project.promote()
    project.publish("two", build_detector() + bytes(20_000))
    assert project.promote() == 3
    assert "NO  size: " in capsys.readouterr().out


def champion_files(project: Project) -> list[Path]:
    """Model files in the store, the champion's among them."""
    return sorted((project.layout.root / "mlartifacts").rglob("model.tflite"))


def remove(path: Path) -> None:
    path.unlink()


def alter(path: Path) -> None:
    path.write_bytes(build_detector(gain=0.5))


LOST = {"gone": (remove, "interface|model|result"), "altered": (alter, "sha256|not the file")}


@pytest.mark.parametrize("how", LOST)
def test_a_champion_whose_file_is_lost(project: Project, how: str) -> None:
    lose: Callable[[Path], None]
    lose, says = LOST[how]
    project.publish("one", build_detector())
    project.promote()
    for path in champion_files(project):
        lose(path)
    project.publish("two", build_detector(gain=0.9))
    with pytest.raises(UserError, match=rf"(?s)({says}).*--no-compare"):
        project.promote()
    assert project.champion == "1"
    assert project.promote("--no-compare") == 0
    assert project.champion == "2"


def test_predict_runs_the_champion(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project.publish("one", build_detector())
    project.promote()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.uri)
    images, out = str(project.layout.split("val") / "images"), tmp_path / "out"
    for model in (f"models:/{NAME}@champion", f"models:/{NAME}/1"):
        assert predict.main([images, "--model", model, "--out", str(out)]) == 0
        assert json.loads((out / "prediction.json").read_text())["artifact_sha256"] == project.measured_sha256
    for model, says in {
        f"models:/{NAME}": "expected models:/<name>@<alias>",
        "models:/absent@champion": "no such model",
        f"models:/{NAME}@best": "no version of it is called best",
        f"models:/{NAME}/7": "(?i)version",
    }.items():
        with pytest.raises(UserError, match=says):
            predict.main([images, "--model", model, "--out", str(out)])


@pytest.mark.parametrize("how", LOST)
def test_predict_does_not_run_a_champion_whose_file_is_lost(
    project: Project, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.publish("one", build_detector())
    project.promote()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.uri)
    lose, says = LOST[how]
    for path in champion_files(project):
        lose(path)
    images, out = project.layout.split("val") / "images", tmp_path / "out"
    with pytest.raises(UserError, match=says) as caught:
        predict.main([str(images), "--model", f"models:/{NAME}@champion", "--out", str(out)])
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_two_promotions_at_once(project: Project) -> None:
    project.publish("one", build_detector())
    project.promote()
    project.publish("two", build_detector(gain=0.9))
    here, somebody_else = versions.Registry(project.uri), versions.Registry(project.uri)
    challenger, champion = here.find(NAME, "challenger"), here.find(NAME, "champion")
    somebody_else.promote(challenger, champion, "")
    with pytest.raises(UserError, match=r"the champion is .* version 2 now, was .* version 1: run it again"):
        here.promote(challenger, champion, "")


def test_no_challenger_and_no_store(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.publish("one", build_detector(), passes=False)
    row = builders.row(model=MODEL, scheme=SCHEME)
    write_json(Metrics(split="val", num_images=12, rows=(row,)), project.layout.metrics)
    with pytest.raises(UserError, match=r"no version is called challenger; run `python -m stages\.publish`"):
        project.promote()
    with pytest.raises(UserError, match="no champion, so nothing to roll back to"):
        project.promote("--rollback")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="no tracking store to ask"):
        project.promote()


def test_why_a_version_became_champion_stays_with_it(project: Project) -> None:
    project.publish("one", build_detector())
    project.promote()
    client = store.mlflow.MlflowClient(tracking_uri=project.uri)
    version = client.get_model_version(NAME, "1")
    assert "gate: green" in version.description
    assert json.loads(version.tags["promoted"])["over"] is None
    assert json.loads(client.get_registered_model(NAME).tags["champions"]) == ["1"]
