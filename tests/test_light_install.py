"""What the plain install runs: evaluating and timing a converted file without the libraries of the extras."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import Layout
from stages.core.command_line import EXTRAS
from stages.core.results.device import DeviceFile
from stages.core.results.status import Status
from tests.builders import conversion
from tests.core.running.test_openvino_runner import build_ir
from tests.tflite_builder import build_segmenter
from tests.tiny_project import write_conversion, write_tiny_project

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_EXTRAS = f"""
import sys
for name in {sorted(module for modules in EXTRAS.values() for module in modules)!r}:
    sys.modules[name] = None
import runpy
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""A module that is None cannot be imported: what an install without any extra looks like."""


def run_without_extras(stage: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_EXTRAS, f"stages.{stage}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = write_tiny_project(tmp_path, num_images=2)
    write_conversion(layout, "maskrcnn_tiny", "int8", build_segmenter())
    return layout


@pytest.mark.parametrize("stage", ["validate", "benchmark"])
def test_a_converted_file_needs_no_extra(stage: str, layout: Layout) -> None:
    done = run_without_extras(stage, "--root", str(layout.root), "--model", "maskrcnn_tiny", "--scheme", "int8")
    assert done.returncode == 0, done.stderr
    assert "maskrcnn_tiny int8" in done.stdout


def test_predicting_needs_no_extra(layout: Layout, tmp_path: Path) -> None:
    images = layout.split("val") / "images"
    (images / "broken.png").write_bytes(b"broken")
    folder, out = layout.converted("maskrcnn_tiny", "int8"), tmp_path / "out"
    done = run_without_extras("predict", str(images), "--model", str(folder), "--out", str(out), "--crops")
    assert done.stderr.splitlines()[-1].startswith("error: 1 of 3 files skipped"), done.stderr
    assert done.returncode == 2
    assert done.stdout.startswith("2 images, ")
    assert (out / "detections.json").is_file()


def test_measuring_a_copied_folder_needs_no_extra(layout: Layout, tmp_path: Path) -> None:
    copy, out = tmp_path / "copy", tmp_path / "device.json"
    shutil.copytree(layout.converted("maskrcnn_tiny", "int8"), copy)
    done = run_without_extras("benchmark", str(copy), "--out", str(out), "--device", "Board")
    assert done.returncode == 0, done.stderr
    assert "Board: 1 measured" in done.stdout
    assert read_json(DeviceFile, out).costs[0].status is Status.OK


def test_a_copied_ir_without_openvino_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = build_ir(tmp_path / "ir")
    record = conversion("retinanet_mobiledet_tiny", "openvino_int8", sha256=artifact.sha256, size_bytes=1)
    write_json(record, tmp_path / "ir" / "result.json")
    # The file is opened in a process of its own, which must not find the library either.
    (tmp_path / "openvino.py").write_text('raise ModuleNotFoundError("No module named openvino", name="openvino")')
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run_without_extras("benchmark", str(tmp_path / "ir"), "--out", str(tmp_path / "device.json"))
    assert (done.returncode, (tmp_path / "device.json").exists()) == (2, False)
    assert "edge-detectors[openvino]" in done.stderr


@pytest.mark.parametrize(
    ("stage", "extra"),
    [
        ("prepare", "train"),
        ("reference --model retinanet_mobiledet_tiny", "train"),
        ("report", "report"),
    ],
)
def test_a_missing_extra_is_named(stage: str, extra: str, layout: Layout) -> None:
    done = run_without_extras(*stage.split(), "--root", str(layout.root))
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert f"edge-detectors[{extra}]" in done.stderr
