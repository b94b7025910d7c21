import shutil
import subprocess
import sys
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import pytest

from stages.convert import main
from stages.core.base.errors import DataError, MissingResultError
from stages.core.base.hashing import hash_files
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import MODEL_FILES, Layout
from stages.core.base.processes import run_in_child
from stages.core.converting.convert import interface_for
from stages.core.converting.job import ConversionJob
from stages.core.converting.make import make_and_prove
from stages.core.datasets.prepared import read_calibration
from stages.core.results.conversion import Conversion, Proof
from stages.core.results.interface import read_interface, write_interface
from stages.core.results.kinds import Form
from stages.core.results.status import Status
from stages.core.tables.schemes import SCHEMES
from tests.builders import AWKWARD, applies
from tests.crashing_maker import make_badly
from tests.exported_project import MODELS, SCHEMES_OF_TRAINED

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def project(exported_project: Layout, tmp_path: Path) -> Layout:
    """A copy that a test may spoil."""
    shutil.copytree(
        exported_project.root,
        tmp_path / AWKWARD,
        ignore=shutil.ignore_patterns("trained", "converted", "validated", "benchmarked"),
    )
    layout = Layout(tmp_path / AWKWARD)
    for model in MODELS:
        shutil.copytree(
            exported_project.exported(model, "trained"), layout.exported(model, "trained"), dirs_exist_ok=True
        )
    return layout


def convert(layout: Layout, model: str, scheme: str) -> Conversion:
    assert main(["--model", model, "--scheme", scheme, "--root", str(layout.root)]) == 0
    return read_json(Conversion, layout.converted(model, scheme) / "result.json")


@pytest.mark.parametrize("scheme", SCHEMES_OF_TRAINED)
@pytest.mark.parametrize("model", MODELS)
def test_every_row_converts_and_runs(exported_project: Layout, model: str, scheme: str) -> None:
    conversion = convert(exported_project, model, scheme)
    folder, row = exported_project.converted(model, scheme), SCHEMES[scheme]
    if not applies(model, scheme):
        assert conversion.status is Status.NOT_APPLICABLE
        assert "ends one-stage detectors only" in conversion.reason
        assert (conversion.artifact, conversion.sha256, conversion.size_bytes) == (None, None, None)
        assert {path.name for path in folder.iterdir()} == {"interface.json", "result.json"}
        return
    files = [folder / name for name in MODEL_FILES[row.backend]]
    assert (conversion.status, conversion.reason) == (Status.OK, "")
    assert {path.name for path in folder.iterdir()} == {
        *(path.name for path in files),
        "interface.json",
        "labels.txt",
        "proof.json",
        "result.json",
    }
    assert (conversion.artifact, *conversion.companions) == MODEL_FILES[row.backend]
    assert conversion.sha256 == hash_files(files)
    assert conversion.size_bytes == sum(path.stat().st_size for path in files)
    assert bool(conversion.calibration_images) == row.needs_calibration
    assert bool(conversion.calibration_sha256) == row.needs_calibration
    assert bool(conversion.calibration_detections) == row.needs_calibration
    assert conversion.notes == ()
    interface = read_interface(folder)
    assert interface.input.dtype == row.input
    assert bool(interface.raw_outputs) == (model == "retinanet_mobiledet_tiny" and row.form is Form.POSTPROCESS_OP)
    assert read_json(Proof, folder / "proof.json").contradictions == ()


@dataclass(frozen=True)
class Ending:
    id: str
    reason: str
    half_a_file: bool = True


ENDINGS = [
    Ending("segfault", "the runtime crashed (SIGSEGV) while making the file"),
    Ending("abort", "the runtime crashed (SIGABRT) while making the file"),
    Ending("hang", "no answer within 4 s while making the file"),
    Ending("refuse", "the graph has no detections"),
    Ending("stumble", "ValueError: unsupported op"),
    Ending("chatter", "no detections"),
    Ending("bug", "ZeroDivisionError: division by zero"),
    Ending("floats", "the file contradicts its scheme: weights are stored as", half_a_file=False),
]


@pytest.mark.parametrize("ending", ENDINGS, ids=attrgetter("id"))
def test_however_making_ends_only_that_row_is_lost(
    project: Layout, monkeypatch: pytest.MonkeyPatch, ending: Ending
) -> None:
    monkeypatch.setattr("stages.core.converting.convert.make_and_prove", make_badly)
    monkeypatch.setattr("stages.core.converting.convert.MAKE_TIMEOUT_S", 4.0 if ending.id == "hang" else 60.0)
    exported = project.exported("retinanet_mobiledet_tiny", "trained")
    (exported / "ending").write_text(ending.id)
    other = project.converted("retinanet_mobiledet_tiny", "float32") / "result.json"
    other.parent.mkdir(parents=True)
    other.write_text("of another row")

    conversion = convert(project, "retinanet_mobiledet_tiny", "int8")

    assert conversion.status is Status.FAILED
    assert conversion.reason.startswith(ending.reason)
    assert "\n" not in conversion.reason
    folder = project.converted("retinanet_mobiledet_tiny", "int8")
    kept = {"model.tflite", "interface.json", "result.json"}
    assert {path.name for path in folder.iterdir()} == kept | (set() if ending.half_a_file else {"proof.json"})
    assert other.read_text() == "of another row"
    assert {path.name for path in folder.parent.iterdir()} == {"float32", "int8"}
    if not ending.half_a_file:
        assert read_json(Proof, folder / "proof.json").contradictions


def test_a_file_that_does_not_run_is_failed(project: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.core.converting.convert.probe_file", lambda *args, **kwargs: "the runtime crashed")
    conversion = convert(project, "retinanet_mobiledet_tiny", "float32")
    assert (conversion.status, conversion.reason) == (Status.FAILED, "the runtime crashed")


def test_a_second_conversion_replaces_the_first(project: Layout) -> None:
    folder = project.converted("retinanet_mobiledet_tiny", "float16")
    folder.mkdir(parents=True)
    (folder / "left_over.bin").write_bytes(b"old")
    convert(project, "retinanet_mobiledet_tiny", "float16")
    assert not (folder / "left_over.bin").exists()


def test_nothing_exported_is_an_error_of_the_user(project: Layout) -> None:
    shutil.rmtree(project.exported("retinanet_mobiledet_tiny", "trained"))
    with pytest.raises(MissingResultError, match=r"interface\.json"):
        convert(project, "retinanet_mobiledet_tiny", "int8")


def test_other_calibration_images_than_drawn_are_an_error(project: Layout) -> None:
    drawn, *_ = read_calibration(project.calibration, limit=1)
    drawn.write_bytes(b"another picture")
    with pytest.raises(DataError, match="sha256 differs"):
        convert(project, "retinanet_mobiledet_tiny", "int8")


FOREIGN = ("tensorflow", "tf_keras", "official", "mlflow", "openvino_telemetry")
"""Neither the verb nor the child that makes the file loads these; the last would report to a server."""


def test_the_verb_imports_nothing_heavy(project: Layout) -> None:
    cell = ("--model", "retinanet_mobiledet_tiny", "--scheme", "float32", "--root", str(project.root))
    assert import_and_run("stages.convert", *cell) == "0 []"


@pytest.mark.parametrize("scheme", ["int8", "openvino_int8"])
def test_making_a_file_imports_neither_tensorflow_nor_telemetry(project: Layout, scheme: str, tmp_path: Path) -> None:
    exported = project.exported("retinanet_mobiledet_tiny", "trained")
    write_interface(interface_for(SCHEMES[scheme], read_interface(exported)), tmp_path)
    job = ConversionJob(
        scheme=SCHEMES[scheme],
        exported=exported,
        images=read_calibration(project.calibration, limit=1),
        interface=read_interface(tmp_path),
        folder=tmp_path,
    )
    assert run_in_child(make_and_list_foreign, job, FOREIGN, timeout_s=300, doing="making the file") == []


def make_and_list_foreign(job: ConversionJob, foreign: tuple[str, ...]) -> list[str]:
    before = {name for name in foreign if sys.modules.get(name)}
    make_and_prove(job)
    return [name for name in foreign if sys.modules.get(name) and name not in before]


def import_and_run(module: str, *arguments: str) -> str:
    """Exit status of `main` in a fresh process, and which foreign modules it loaded."""
    program = (
        f"import sys\nfrom {module} import main\nif __name__ == '__main__':\n    status = main({list(arguments)!r})\n"
        f"    print(status, [name for name in {FOREIGN!r} if sys.modules.get(name)])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]
