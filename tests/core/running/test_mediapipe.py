"""MediaPipe Tasks on shipped files: it loads them, and finds what the project's own runner finds.

MediaPipe needs another OpenCV package than the project. Install it elsewhere and name that Python in MEDIAPIPE_PYTHON:
`python3.11 -m venv mp && mp/bin/pip install mediapipe`.
"""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages import convert
from stages.core.base.layout import Layout
from stages.core.converting.client_metadata import finish_file
from stages.core.datasets.prepared import load_image
from stages.core.predicting.model_folder import open_model
from stages.core.processing.detections import Detections
from stages.core.results.interface import Interface
from stages.core.running.artifact import Artifact
from stages.core.running.open import open_runner
from tests.mediapipe_client import __file__ as client
from tests.tflite_builder import build_detector
from tests.tiny_project import LABELS, tiny_interface, write_artifact

PYTHON = os.environ.get("MEDIAPIPE_PYTHON", sys.executable)
TINY = "retinanet_mobiledet_tiny"
ROUNDING = 2.0
"""Pixels: MediaPipe cuts the fractions off a box's start and off its size."""


@cache
def has_mediapipe() -> bool:
    return subprocess.run([PYTHON, "-c", "import mediapipe"], capture_output=True, check=False).returncode == 0


@pytest.fixture(autouse=True)
def _needs_mediapipe() -> None:
    if not has_mediapipe():
        pytest.skip(f"no mediapipe in {PYTHON}; set MEDIAPIPE_PYTHON to a Python that has it")


def ask_mediapipe(model: Path, pictures: list[Path]) -> list[list[dict[str, Any]]]:
    done = subprocess.run(
        [PYTHON, client, str(model), *map(str, pictures)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return answers


def compare(artifact: Artifact, pictures: list[Path]) -> int:
    """Checks that every detection of every picture has its like on the other side; how many there were."""
    runner, number = open_runner(artifact, num_threads=2), 0
    for picture, answer in zip(pictures, ask_mediapipe(artifact.path, pictures), strict=True):
        ours = runner.run(load_image(picture))
        starts = runner.outputs["detection_boxes"][0][: len(ours), :2].min()
        assert starts >= 0 or artifact.interface.raw_outputs, "only the op leaves boxes that begin outside"
        unmatched = set(range(len(ours)))
        for theirs in answer:
            index = next(i for i in sorted(unmatched) if is_same(theirs, ours, i, artifact.interface))
            unmatched.remove(index)
            number += 1
        assert not unmatched
    return number


def is_same(theirs: dict[str, Any], ours: Detections, index: int, interface: Interface) -> bool:
    """Same class, score and box; no box where one begins outside of the image, as MediaPipe moves it."""
    if theirs["class"] != interface.labels[str(ours.classes[index])]:
        return False
    if abs(theirs["score"] - float(ours.scores[index])) > 1e-5:
        return False
    if interface.raw_outputs and ours.boxes_xyxy[index][:2].min() == 0:
        return True
    box = np.clip(theirs["box"], 0, [*ours.image_size[::-1]] * 2)
    return bool((np.abs(box - ours.boxes_xyxy[index]) < ROUNDING).all())


def test_a_hand_made_detector(tmp_path: Path) -> None:
    interface = tiny_interface(TINY)
    artifact = write_artifact(tmp_path, finish_file(build_detector(), interface), interface)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4, :4, 0], pixels[4:, 4:, 2] = 204, 102
    Image.fromarray(pixels).save(tmp_path / "picture.png")

    ((red, blue),) = ask_mediapipe(artifact.path, [tmp_path / "picture.png"])

    assert (red["class"], red["box"]) == (LABELS["1"], [0, 0, 4, 4])
    assert (blue["class"], blue["box"]) == (LABELS["3"], [4, 4, 8, 8])
    assert compare(artifact, [tmp_path / "picture.png"]) == 2


def test_the_snippet_of_the_documentation(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "clients.md").read_text()
    (snippet,) = re.findall(r"```python mediapipe\n(.*?)```", page, re.DOTALL)
    interface = tiny_interface(TINY)
    write_artifact(tmp_path / "model", finish_file(build_detector(), interface), interface)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4, :4, 0] = 204
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", format="PNG")

    program = f"{snippet}print([(name, round(score, 3)) for name, score, _ in found])"
    done = subprocess.run([PYTHON, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.stdout.strip() == f"[({LABELS['1']!r}, 0.8)]", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "scheme", ["float32", "dynamic_range", "int8_uint8_input", "float32_postprocess_op", "int8_postprocess_op"]
)
def test_converted_detectors(scheme: str, exported_project: Layout, tmp_path: Path) -> None:
    assert convert.main(["--model", TINY, "--scheme", scheme, "--root", str(exported_project.root)]) == 0
    artifact = open_model(exported_project.converted(TINY, scheme))
    pictures = []
    for path in sorted((exported_project.split("val") / "images").iterdir()):
        # Of the input's size and lossless: MediaPipe resizes in its own way.
        pictures.append(tmp_path / f"{path.stem}.png")
        Image.fromarray(load_image(path)).resize(artifact.interface.input.size[::-1]).save(pictures[-1])
    assert compare(artifact, pictures) > len(pictures)
