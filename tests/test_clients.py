"""The snippets of docs/clients.md, run as they stand there."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from PIL import Image

from stages.core.datasets.prepared import load_image
from stages.core.predicting.model_folder import open_model
from stages.core.processing.preprocess import preprocess_image
from stages.core.running.open import open_runner
from tests.core.running.test_openvino_runner import build_ir
from tests.tflite_builder import build_detector, build_segmenter
from tests.tiny_project import tiny_interface, write_artifact

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "clients.md").read_text()
SHARED, LITERT, OPENVINO = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(CPP,) = re.findall(r"```cpp\n(.*?)```", PAGE, re.DOTALL)
(JAVASCRIPT,) = re.findall(r"```javascript\n(.*?)```", PAGE, re.DOTALL)
MEDIAPIPE_KOTLIN, LITERT_KOTLIN = re.findall(r"```kotlin\n(.*?)```", PAGE, re.DOTALL)
(SWIFT,) = re.findall(r"```swift\n(.*?)```", PAGE, re.DOTALL)
WHEEL = Path(ov.__file__).parent


def write_photo(folder: Path, *, shape: tuple[int, int]) -> Path:
    """A picture whose halves differ; lossless, whatever its name says."""
    height, width = shape
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2, 0] = 204
    pixels[height // 2 :, width // 2 :, 2] = 153
    Image.fromarray(pixels).save(folder / "photo.jpg", format="PNG")
    return folder / "photo.jpg"


def write_tflite(folder: Path) -> None:
    write_artifact(folder, build_detector(), tiny_interface("retinanet_mobiledet_tiny"))


def write_tflite_with_masks(folder: Path) -> None:
    write_artifact(folder, build_segmenter(), tiny_interface("maskrcnn_tiny"))


def write_stretching_tflite(folder: Path) -> None:
    interface = tiny_interface("retinanet_mobiledet_tiny")
    interface = replace(interface, input=replace(interface.input, resize="stretch", pad_value=(9, 9, 9)))
    write_artifact(folder, build_detector(), interface)


SNIPPETS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "litert": (LITERT, write_tflite),
    "litert_masks": (LITERT, write_tflite_with_masks),
    "litert_stretch": (LITERT, write_stretching_tflite),
    "openvino": (OPENVINO, build_ir),
}


@pytest.mark.parametrize("shape", [(16, 16), (40, 64), (30, 20), (6, 6)], ids=str)
@pytest.mark.parametrize("name", SNIPPETS)
def test_python_snippets_find_what_the_project_finds(
    name: str, shape: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snippet, write = SNIPPETS[name]
    write(tmp_path / "model")
    photo = write_photo(tmp_path, shape=shape)
    monkeypatch.chdir(tmp_path)

    names: dict[str, Any] = {}
    exec(compile(SHARED + snippet, "docs/clients.md", "exec"), names)

    artifact = open_model(tmp_path / "model")
    ours = open_runner(artifact, num_threads=2).run(load_image(photo)).above(0.3)
    assert len(names["found"]) == len(ours) > 0
    for index, (label, score, box) in enumerate(names["found"]):
        assert label == artifact.interface.labels[str(ours.classes[index])]
        # Pillow and OpenCV round to 8 bits each in their own way.
        assert score == pytest.approx(float(ours.scores[index]), abs=1.5 / 255)
        clipped = np.clip(box, 0, [*shape, *shape])
        np.testing.assert_allclose(clipped, ours.boxes_xyxy[index][[1, 0, 3, 2]], atol=1e-3)


@pytest.mark.slow
def test_the_cpp_snippet_compiles_and_finds_the_same(tmp_path: Path) -> None:
    if not shutil.which("g++") or not (WHEEL / "include").is_dir():
        pytest.skip("no g++, or an OpenVINO without headers")
    artifact = build_ir(tmp_path / "model")
    image = load_image(write_photo(tmp_path, shape=(16, 16)))
    tensor, _ = preprocess_image(image, artifact.interface.input)
    (tmp_path / "pixels").write_bytes(tensor.astype("<f4").tobytes())
    (tmp_path / "client.cpp").write_text(CPP)
    library = next(path for path in sorted((WHEEL / "libs").glob("libopenvino.so.*")))
    command = ["g++", "-std=c++17", "client.cpp", "-o", "client", f"-I{WHEEL / 'include'}", str(library)]
    subprocess.run([*command, f"-Wl,-rpath,{WHEEL / 'libs'}"], cwd=tmp_path, check=True)

    done = subprocess.run(["./client", "model", "pixels"], cwd=tmp_path, capture_output=True, text=True, check=True)

    rows = [[float(value) for value in line.split()] for line in done.stdout.splitlines()]
    ours = open_runner(artifact, num_threads=2).run(image).above(0.3)
    expected = np.column_stack([ours.classes - 1, ours.scores, ours.boxes_xyxy[:, [1, 0, 3, 2]] / 16])
    np.testing.assert_allclose(rows, expected, atol=1e-4)


def test_the_kotlin_snippet_names_what_a_file_has() -> None:
    interface = tiny_interface("retinanet_mobiledet_tiny")
    rows = interface.post_processing.max_detections
    written = dict(re.findall(r'^    "(\w+)" to (.*),$', LITERT_KOTLIN, re.MULTILINE))
    shapes = {
        name: tuple(rows if side == "rows" else int(side) for side in re.findall(r"Array\((\w+)\)", array))
        for name, array in written.items()
    }
    assert shapes == {output.name: output.shape for output in interface.outputs}
    (call,) = re.findall(r'runSignature\(mapOf\("(\w+)" to pixels\), outputs, "(\w+)"\)', LITERT_KOTLIN)
    assert call == (interface.input.name, interface.signature)


@pytest.mark.parametrize("snippet", [MEDIAPIPE_KOTLIN, LITERT_KOTLIN, SWIFT, JAVASCRIPT, CPP])
def test_what_is_opened_is_closed(snippet: str) -> None:
    code = re.sub(r'//.*|"[^"]*"', "", snippet)
    for opening, closing in ("()", "{}", "[]"):
        assert code.count(opening) == code.count(closing)


def test_the_javascript_snippet_is_javascript(tmp_path: Path) -> None:
    if not shutil.which("node"):
        pytest.skip("no node")
    (tmp_path / "client.mjs").write_text(JAVASCRIPT)
    subprocess.run(["node", "--check", "client.mjs"], cwd=tmp_path, check=True)


def test_the_javascript_snippet_fits_the_vendors_types(tmp_path: Path) -> None:
    modules = Path(os.environ.get("MEDIAPIPE_NODE", tmp_path)) / "node_modules"
    if not (modules / "@mediapipe" / "tasks-vision").is_dir():
        pytest.skip("MEDIAPIPE_NODE names no folder with @mediapipe/tasks-vision and typescript")
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "client.mjs").write_text(JAVASCRIPT)
    options = "--checkJs --allowJs --noEmit --strict --module esnext --target es2022 --moduleResolution bundler"
    command = ["node_modules/.bin/tsc", *options.split(), "--lib", "dom,es2022", "client.mjs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
