"""Rows as MLflow models: logged from code, loaded where the project is not, and asked."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.core.datasets.prepared import load_image
from stages.core.predicting.model_folder import open_model
from stages.core.predicting.requests import detections_to_answer
from stages.core.running.open import open_runner
from stages.core.tracking.model_plan import CODE_FILE, ROOT, ModelPlan, encode_example, find_modules
from stages.core.tracking.outcome import Outcome
from stages.core.tracking.publish import prepare_environment
from stages.core.tracking.run_plan import Publication, RunPlan
from tests.core.running.test_openvino_runner import build_ir
from tests.tflite_builder import build_segmenter
from tests.tiny_project import LABELS, tiny_interface, write_artifact

prepare_environment(timeout_s=20)
mlflow = pytest.importorskip("mlflow")
store = pytest.importorskip("stages.core.tracking.store")

REQUIREMENTS = ("numpy==2", "ai-edge-litert==2.3")


def picture(side: int = 16) -> np.ndarray:
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[: side // 2, : side // 2, 0] = 204
    pixels[side // 2 :, side // 2 :, 2] = 102
    return pixels


def plan(name: str, model: ModelPlan | None) -> RunPlan:
    return RunPlan(
        name=name, key=name, content_sha256="one", params={}, metrics={"box_ap": 64.3}, tags={}, artifacts=(),
        failed=False, model=model,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the converted folders `tflite` (masks) and `openvino`, a photo, and what was published of them."""
    folder = tmp_path_factory.mktemp("models")
    write_artifact(folder / "tflite", build_segmenter(), tiny_interface("maskrcnn_tiny"))
    build_ir(folder / "openvino")
    Image.fromarray(picture()).save(folder / "photo.png")
    return folder


@pytest.fixture(scope="module")
def publication(folder: Path) -> Publication:
    example = encode_example(folder / "photo.png")
    models = [ModelPlan(name=f"m-{n}", folder=folder / n, sha256="7" * 64, requirements=REQUIREMENTS, example=example)
              for n in ("tflite", "openvino")]  # fmt: skip
    return Publication(
        experiment="detectors",
        artifact_root=(folder / "mlartifacts").as_uri(),
        parent=plan("parent", None),
        children=tuple(plan(model.name, model) for model in models),
    )


@pytest.fixture(scope="module")
def uri(folder: Path, publication: Publication) -> str:
    address = f"sqlite:///{folder}/mlflow.db"
    assert store.publish_runs(publication, address) == Outcome(created=3)
    # Whoever loads a model from here compiles its code here.
    assert not list((folder / "mlartifacts").rglob("__pycache__"))
    return address


def models_of(uri: str) -> dict[str, Any]:
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("detectors").experiment_id
    found = client.search_logged_models([experiment])
    assert len({model.name for model in found}) == len(found), "a model is there twice"
    return {model.name: model for model in found}


def test_what_was_a_value_of_a_sweep_is_no_challenger(publication: Publication, tmp_path: Path) -> None:
    first, second = publication.children
    assert first.model is not None
    swept = replace(first, model=replace(first.model, competes=False))
    address = f"sqlite:///{tmp_path}/mlflow.db"
    both = replace(publication, artifact_root=(tmp_path / "artifacts").as_uri(), children=(swept, second))
    store.publish_runs(both, address)
    assert set(models_of(address)) == {"m-tflite", "m-openvino"}
    registered = mlflow.MlflowClient(tracking_uri=address).search_registered_models()
    assert [model.name for model in registered] == ["detectors-m-openvino"]


def load(uri: str, name: str) -> Any:
    mlflow.set_tracking_uri(uri)
    return mlflow.pyfunc.load_model(f"models:/{models_of(uri)[name].model_id}")


def expected(folder: Path, name: str, pixels: np.ndarray, threshold: float = 0.3) -> dict[str, Any]:
    found = open_runner(open_model(folder / name), num_threads=2).run(pixels).above(threshold)
    return detections_to_answer(found, {int(key): label for key, label in LABELS.items()})


@pytest.mark.parametrize("name", ["tflite", "openvino"])
def test_a_loaded_model_answers_as_the_file_does(name: str, uri: str, folder: Path) -> None:
    model, other = load(uri, f"m-{name}"), picture(40)
    answers = model.predict([str(folder / "photo.png"), other, encode_example(folder / "photo.png")])
    assert answers[0] == expected(folder, name, picture())
    assert answers[1] == expected(folder, name, other)
    assert answers[0]["classes"] == ["red", "blue"]
    assert ("masks" in answers[0]) == (name == "tflite")
    assert [answer["classes"] for answer in model.predict([other], params={"score_threshold": 0.7})] == [["red"]]


def test_tables_and_arrays_of_one_size_are_taken_too(uri: str, folder: Path) -> None:
    model, whole = load(uri, "m-tflite"), expected(folder, "tflite", picture())
    assert model.predict([picture(), picture()]) == [whole, whole]
    assert model.predict(pd.DataFrame({"image": [str(folder / "photo.png")]})) == [whole]


def test_the_snippet_of_the_documentation(
    uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (snippet,) = re.findall(r"```python mlflow\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL)
    (folder / "photo.jpg").write_bytes((folder / "photo.png").read_bytes())
    monkeypatch.chdir(folder)
    exec(
        compile(snippet, "clients.md", "exec"), {"run_id": models_of(uri)["m-tflite"].source_run_id, "name": "m-tflite"}
    )
    assert capsys.readouterr().out.startswith("red 0.8")


def test_what_is_no_image_is_said(uri: str) -> None:
    with pytest.raises(Exception, match="neither a file nor base64"):
        load(uri, "m-tflite").predict(["nowhere.jpg"])


def test_a_model_tells_what_it_takes_and_needs(uri: str) -> None:
    info = mlflow.models.get_model_info(f"models:/{models_of(uri)['m-tflite'].model_id}")
    assert [column["type"] for column in info.signature.inputs.to_dict()] == ["any"]
    assert info.signature.params.to_dict()[0]["name"] == "score_threshold"
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{info.model_id}"))
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert set(REQUIREMENTS) < set(lines)
    assert [line.partition("==")[0] for line in lines if "tensorflow" in line] == []
    assert json.loads((folder / "serving_input_example.json").read_text())["params"] == {"score_threshold": 0.3}
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle")]
    (package,) = (folder / "code").iterdir()
    code = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert {"core/running/tflite.py", "core/running/openvino.py"} < code
    assert not [name for name in code if name.split("/")[1:2] in (["training"], ["tracking"], ["reporting"])]


def test_it_loads_where_the_project_is_not(uri: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(
        mlflow.artifacts.download_artifacts(f"models:/{models_of(uri)['m-tflite'].model_id}"), tmp_path / "m"
    )
    program = (
        "import mlflow, json, sys\n"
        "model = mlflow.pyfunc.load_model('m')\n"
        "print(json.dumps(model.predict([sys.argv[1]])))\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('stages', 'tensorflow')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(folder / "photo.png")],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [expected(folder, "tflite", picture())]


def test_the_numbers_of_a_run_are_those_of_its_model(uri: str) -> None:
    for model in models_of(uri).values():
        assert {metric.key: metric.value for metric in model.metrics} == {"box_ap": 64.3}
        run = mlflow.MlflowClient(tracking_uri=uri).get_run(model.source_run_id)
        assert run.data.metrics == {"box_ap": 64.3}


def test_publishing_again_logs_no_model_again(uri: str, publication: Publication) -> None:
    before = {name: model.model_id for name, model in models_of(uri).items()}
    changed = replace(publication, children=tuple(replace(run, content_sha256="two") for run in publication.children))
    assert store.publish_runs(changed, uri) == Outcome(completed=2, unchanged=1)
    assert {name: model.model_id for name, model in models_of(uri).items()} == before


def test_the_code_of_a_model_is_all_that_it_imports() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in find_modules(CODE_FILE)}
    assert "stages/core/processing/decode.py" in names
    assert "stages/core/__init__.py" in names
    assert len(names) < 45


def test_an_image_can_be_sent_as_base64(uri: str, folder: Path) -> None:
    text = base64.b64encode((folder / "photo.png").read_bytes()).decode()
    np.testing.assert_array_equal(load_image(folder / "photo.png"), picture())
    assert load(uri, "m-tflite").predict([text]) == [expected(folder, "tflite", picture())]


@contextmanager
def served(uri: str, name: str) -> Iterator[str]:
    """`mlflow models serve` on a free port of this machine; its address."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    model = f"models:/{models_of(uri)[name].model_id}"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        model,
        "--env-manager",
        "local",
        "-p",
        str(port),
    ]
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PATH": scripts}
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                break
            assert server.poll() is None, "the server ended"
            time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


@pytest.mark.slow
def test_a_served_model_answers_over_http(uri: str, folder: Path) -> None:
    text = base64.b64encode((folder / "photo.png").read_bytes()).decode()
    body = json.dumps({"inputs": [text], "params": {"score_threshold": 0.3}}).encode()
    with served(uri, "m-tflite") as address:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.loads(answer.read())
        assert found == {"predictions": [expected(folder, "tflite", picture())]}
        request = urllib.request.Request(address, b'{"inputs": ["nowhere.jpg"]}', {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(request, timeout=60)
