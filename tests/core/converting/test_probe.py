from pathlib import Path

import numpy as np
import pytest

from stages.core.base.errors import ArtifactError
from stages.core.base.layout import Layout
from stages.core.converting import probe
from stages.core.converting.probe import check_values, probe_file
from stages.core.results.kinds import Backend
from tests.crashing_child import end_as_told
from tests.tflite_builder import build_detector
from tests.tiny_project import tiny_interface, write_artifact


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        ("segfault", "crashed (SIGSEGV)"),
        ("abort", "crashed (SIGABRT) while running one image: Check failed: x < y"),
        ("hang", "no answer within 3 s"),
        ("refuse", "boxes: not finite"),
        ("fine", ""),
    ],
)
def test_every_end_is_one_line(ending: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "run_noise", end_as_told)
    file = tmp_path / "model.tflite"
    file.write_text(ending)
    reason = probe_file(file, Backend.TFLITE, timeout_s=3)
    assert says in reason
    assert bool(reason) == bool(says)
    assert "\n" not in reason


def test_good_file_runs(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path, build_detector(), tiny_interface("retinanet_mobiledet_tiny"))
    assert probe_file(artifact.path, Backend.TFLITE, timeout_s=60) == ""


@pytest.mark.slow
def test_file_with_other_outputs_than_its_interface(exported_project: Layout, tmp_path: Path) -> None:
    content = (exported_project.exported("retinanet_mobiledet_tiny", "trained") / "model.tflite").read_bytes()
    artifact = write_artifact(tmp_path, content, tiny_interface("retinanet_mobiledet_tiny"))
    assert "expected" in probe_file(artifact.path, Backend.TFLITE, timeout_s=60)


def outputs(num: float) -> dict[str, np.ndarray]:
    return {
        "detection_boxes": np.zeros((1, 4, 4), np.float32),
        "detection_classes": np.zeros((1, 4), np.float32),
        "detection_scores": np.zeros((1, 4), np.float32),
        "num_detections": np.asarray([num], np.float32),
    }


def test_values_of_detections_must_be_finite_and_others_need_not() -> None:
    found = outputs(2)
    found["detection_boxes"][0, 2] = np.nan
    check_values(found, tiny_interface("retinanet_mobiledet_tiny"))
    found["detection_boxes"][0, 1, 3] = np.inf
    with pytest.raises(ArtifactError, match="detection_boxes: 1 values are not finite"):
        check_values(found, tiny_interface("retinanet_mobiledet_tiny"))


@pytest.mark.parametrize("num", [-1, 5, float("nan")])
def test_count_must_fit(num: float) -> None:
    with pytest.raises(ArtifactError, match="num_detections"):
        check_values(outputs(num), tiny_interface("retinanet_mobiledet_tiny"))
