"""MediaPipe Tasks on shipped files: it loads them, and finds what the project's own runner finds.

MediaPipe needs another OpenCV package than the project. Install it elsewhere and name that Python in MEDIAPIPE_PYTHON:
`python3.11 -m venv mp && mp/bin/pip install mediapipe`.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
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
from stages.core.validating.coco_ap import detections_to_boxes, measure_ap
from tests.mediapipe_client import __file__ as client
from tests.tflite_builder import build_detector
from tests.tiny_project import LABELS, tiny_interface, write_artifact

PYTHON = os.environ.get("MEDIAPIPE_PYTHON", sys.executable)
TINY = "retinanet_mobiledet_tiny"
ROUNDING = 2.0
"""Pixels: MediaPipe cuts the fractions off a box's start and off its size."""
SHAPES = ((96, 96), (64, 160), (160, 64), (101, 143))
WHOLE_PIXELS = 1.0
"""Points of AP that cutting boxes of this size to whole pixels, and another resizing, may move."""


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


def write_quadrants(folder: Path, num_images: int = 24) -> tuple[dict[str, Any], list[Path]]:
    """Pictures of four shapes whose bright quadrants are objects, labelled a little beside where they are."""
    generator, images, annotations, paths = np.random.default_rng(0), [], [], []
    for image_id in range(1, num_images + 1):
        height, width = SHAPES[image_id % len(SHAPES)]
        pixels = np.zeros((height, width, 3), np.uint8)
        for quadrant in np.flatnonzero(generator.random(4) < 0.7):
            size = np.asarray([width // 2, height // 2])
            x, y = size * [quadrant % 2, quadrant // 2]
            category = int(generator.integers(1, 4))
            pixels[y : y + size[1], x : x + size[0], category - 1] = generator.integers(90, 250)
            start, sides = [x, y] + generator.normal(0, 0.05, 2) * size, size * generator.normal(1, 0.05, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category,
                    "iscrowd": 0,
                    "bbox": [*map(float, start), *map(float, sides)],
                    "area": float(sides.prod()),
                }
            )
        images.append({"id": image_id, "file_name": f"{image_id}.png", "height": height, "width": width})
        paths.append(folder / f"{image_id}.png")
        Image.fromarray(pixels).save(paths[-1])
    categories = [{"id": int(key), "name": name} for key, name in LABELS.items()]
    return {"images": images, "annotations": annotations, "categories": categories}, paths


def answers_to_boxes(answers: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """MediaPipe's answers in COCO's result format."""
    ids = {name: int(key) for key, name in LABELS.items()}
    return [
        {
            "image_id": image_id,
            "category_id": ids[one["class"]],
            "score": one["score"],
            "bbox": [*one["box"][:2], one["box"][2] - one["box"][0], one["box"][3] - one["box"][1]],
        }
        for image_id, found in enumerate(answers, start=1)
        for one in found
    ]


def test_its_ap_is_the_one_that_is_judged_under_stretch(tmp_path: Path) -> None:
    truth, paths = write_quadrants(tmp_path)
    judged = {}
    for resize in ("stretch", "fit_pad"):
        interface = tiny_interface(TINY)
        interface = replace(interface, input=replace(interface.input, resize=resize))
        artifact = write_artifact(tmp_path / resize, finish_file(build_detector(), interface), interface)
        runner = open_runner(artifact, num_threads=2)
        rows = [row for n, path in enumerate(paths, 1) for row in detections_to_boxes(n, runner.run(load_image(path)))]
        judged[resize] = measure_ap(truth, rows, "bbox").ap or 0.0

    answers = ask_mediapipe(tmp_path / "fit_pad" / "model.tflite", paths)
    got = measure_ap(truth, answers_to_boxes(answers), "bbox").ap or 0.0

    assert 20 < judged["stretch"] < 90, "an AP that could be another"
    assert abs(got - judged["stretch"]) < WHOLE_PIXELS
    assert got - judged["fit_pad"] > 10, "MediaPipe does what it does, whatever the interface says"
