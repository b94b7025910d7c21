import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import pytest

from stages.convert import main
from stages.core.errors import DataError, MissingResultError
from stages.core.hashing import hash_file
from stages.core.interface import read_interface
from stages.core.jsonfile import read_json
from stages.core.layout import Layout
from stages.core.results import Conversion, Proof, Status
from stages.core.schemes import SCHEMES
from tests.exported_project import MODELS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def project(exported_project: Layout, tmp_path: Path) -> Layout:
    """A copy that a test may spoil."""
    shutil.copytree(
        exported_project.root,
        tmp_path / "project",
        ignore=shutil.ignore_patterns("saved_model", "trained", "converted"),
    )
    layout = Layout(tmp_path / "project")
    for model in MODELS:
        shutil.copytree(
            exported_project.exported(model, "trained"), layout.exported(model, "trained"), dirs_exist_ok=True
        )
    return layout


def convert(layout: Layout, model: str, scheme: str) -> Conversion:
    assert main(["--model", model, "--scheme", scheme, "--root", str(layout.root)]) == 0
    return read_json(Conversion, layout.converted(model, scheme) / "result.json")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("model", MODELS)
def test_every_row_converts_and_runs(exported_project: Layout, model: str, scheme: str) -> None:
    conversion = convert(exported_project, model, scheme)
    folder = exported_project.converted(model, scheme)
    assert (conversion.status, conversion.reason) == (Status.OK, "")
    assert {path.name for path in folder.iterdir()} == {"model.tflite", "interface.json", "proof.json", "result.json"}
    assert conversion.sha256 == hash_file(folder / "model.tflite")
    assert conversion.size_bytes == (folder / "model.tflite").stat().st_size
    assert bool(conversion.calibration_images) == SCHEMES[scheme].needs_calibration
    assert bool(conversion.calibration_sha256) == SCHEMES[scheme].needs_calibration
    assert read_interface(folder).input.dtype == SCHEMES[scheme].input
    assert read_json(Proof, folder / "proof.json").contradictions == ()


@dataclass(frozen=True)
class Bad:
    id: str
    spoil: Callable[[bytes], bytes]
    says: str


BAD_SOURCES = [
    Bad("empty", lambda content: b"", "empty file"),
    Bad("lfs_pointer", lambda content: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    Bad("truncated", lambda content: content[: len(content) // 2], "truncated"),
    Bad("not_a_flatbuffer", lambda content: b"\x08\x01\x12\x00saved_model" * 9, "not a .tflite"),
]


@pytest.mark.parametrize("bad", BAD_SOURCES, ids=attrgetter("id"))
def test_bad_source_is_a_failed_row_with_its_reason(project: Layout, bad: Bad) -> None:
    source = project.exported("mobiledet_tiny", "trained") / "model.tflite"
    source.write_bytes(bad.spoil(source.read_bytes()))
    conversion = convert(project, "mobiledet_tiny", "int8")
    folder = project.converted("mobiledet_tiny", "int8")
    assert conversion.status is Status.FAILED
    assert bad.says in conversion.reason
    assert "model.tflite" in conversion.reason
    assert conversion.artifact is None
    assert {path.name for path in folder.iterdir()} == {"interface.json", "result.json"}
    assert [path.name for path in folder.parent.iterdir()] == ["int8"]


def test_a_file_that_contradicts_its_scheme_is_failed(project: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.core.converting.convert.make_file", lambda source, scheme: source.content)
    conversion = convert(project, "mobiledet_tiny", "int8")
    assert conversion.status is Status.FAILED
    assert "contradicts its scheme" in conversion.reason
    assert read_json(Proof, project.converted("mobiledet_tiny", "int8") / "proof.json").contradictions


def test_a_file_that_does_not_run_is_failed(project: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.core.converting.convert.probe_file", lambda *args, **kwargs: "the runtime crashed")
    conversion = convert(project, "mobiledet_tiny", "float32")
    assert (conversion.status, conversion.reason) == (Status.FAILED, "the runtime crashed")


def test_what_the_quantizer_refuses_is_failed(project: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, scheme: object) -> bytes:
        raise ValueError("unsupported\n  op")

    monkeypatch.setattr("stages.core.converting.convert.make_file", refuse)
    conversion = convert(project, "mobiledet_tiny", "int8")
    assert (conversion.status, conversion.reason) == (Status.FAILED, "ValueError: unsupported op")


def test_a_second_conversion_replaces_the_first(project: Layout) -> None:
    folder = project.converted("mobiledet_tiny", "float16")
    folder.mkdir(parents=True)
    (folder / "left_over.bin").write_bytes(b"old")
    convert(project, "mobiledet_tiny", "float16")
    assert not (folder / "left_over.bin").exists()


def test_nothing_exported_is_an_error_of_the_user(project: Layout) -> None:
    shutil.rmtree(project.exported("mobiledet_tiny", "trained"))
    with pytest.raises(MissingResultError, match=r"interface\.json"):
        convert(project, "mobiledet_tiny", "int8")


def test_other_calibration_images_than_drawn_are_an_error(project: Layout) -> None:
    next((project.split("train") / "images").iterdir()).write_bytes(b"another picture")
    with pytest.raises(DataError, match="sha256 differs"):
        convert(project, "mobiledet_tiny", "int8")


def test_no_tensorflow_is_imported(exported_project: Layout) -> None:
    code = (
        "import sys; from stages.convert import main; "
        f"main(['--model', 'mobiledet_tiny', '--scheme', 'int8', '--root', {str(exported_project.root)!r}]); "
        "sys.exit(', '.join(m for m in ('tensorflow', 'tf_keras', 'official', 'mlflow') if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
