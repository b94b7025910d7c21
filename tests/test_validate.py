"""`validate` on hand-made files that really run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stages import validate
from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import Layout
from stages.core.datasets.subset import choose_subset
from stages.core.params.steps import MAX_SHOWN_IMAGES
from stages.core.processing.stored_outputs import load_outputs
from stages.core.results.status import Status
from stages.core.results.validation import Interval, Validation
from tests.tflite_builder import build_crasher, build_detector, build_refused, build_segmenter
from tests.tiny_project import MODELS, write_conversion, write_tiny_project

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return write_tiny_project(tmp_path)


def run_cell(layout: Layout, model: str, scheme: str = "int8") -> Validation:
    assert validate.main(["--root", str(layout.root), "--model", model, "--scheme", scheme]) == 0
    return read_json(Validation, layout.validated(model, scheme))


@pytest.mark.parametrize("model", MODELS)
def test_the_float_file_itself_loses_nothing(model: str, layout: Layout) -> None:
    write_conversion(layout, model, "float32", MODELS[model]())

    result = run_cell(layout, model, "float32")

    assert result.status is Status.OK
    assert result.accuracy == result.reference
    assert result.accuracy is not None
    assert result.accuracy.box.ap == pytest.approx(100)
    assert result.box_ap_drop == 0
    assert result.box_intervals is not None
    assert result.box_intervals.ap_drop == Interval(low=0, high=0)
    assert (result.mask_intervals is not None) == (model == "maskrcnn_tiny")
    assert result.agreement is not None
    assert (result.agreement.f1, result.agreement.mean_iou, result.agreement.score_shift) == (1.0, 1.0, 0.0)
    assert result.agreement.num_matched > 10
    if model == "maskrcnn_tiny":
        assert result.accuracy.mask is not None
        assert result.accuracy.mask.ap == pytest.approx(100)
        assert result.mask_ap_drop == 0
    else:
        assert result.accuracy.mask is None
        assert result.mask_ap_drop is None


def test_dimmer_scores_show_in_agreement_and_parity(layout: Layout) -> None:
    write_conversion(layout, "retinanet_mobiledet_tiny", "int8", build_detector(gain=0.9))

    result = run_cell(layout, "retinanet_mobiledet_tiny")

    assert result.agreement is not None
    assert -0.1 < (result.agreement.score_shift or 0) < -0.03
    assert len(result.agreement.most_moved) == 12
    boxes, scores = result.parity
    assert (boxes.output, boxes.max_abs, boxes.sqnr_db) == ("raw_boxes", 0.0, None)
    assert (scores.output, scores.num_images) == ("raw_scores", 4)
    assert scores.sqnr_db == pytest.approx(20.0, abs=0.01)  # a tenth of the signal is lost: 10 log10(1 / 0.1²)
    assert scores.cosine == pytest.approx(1.0)


def test_a_blind_file_loses_everything(layout: Layout) -> None:
    write_conversion(layout, "maskrcnn_tiny", "int8", build_segmenter(gain=0.0))

    result = run_cell(layout, "maskrcnn_tiny")

    assert result.box_ap_drop == pytest.approx(100)
    assert result.mask_ap_drop == pytest.approx(100)
    assert result.agreement is not None
    assert (result.agreement.precision, result.agreement.recall) == (None, 0.0)


@pytest.mark.parametrize("model", MODELS)
def test_an_image_without_objects_is_judged(model: str, layout: Layout) -> None:
    annotations = layout.annotations("val")
    tree = json.loads(annotations.read_text())
    emptied = max(entry["image_id"] for entry in tree["annotations"])
    alarms = sum(entry["image_id"] == emptied for entry in tree["annotations"])
    tree["annotations"] = [entry for entry in tree["annotations"] if entry["image_id"] != emptied]
    annotations.write_text(json.dumps(tree))
    write_conversion(layout, model, "float32", MODELS[model]())

    result = run_cell(layout, model, "float32")

    assert result.protocol is not None
    assert result.protocol.num_images == 12
    assert result.accuracy is not None
    assert (result.accuracy.box.ap or 0) < 99
    assert result.box_classes is not None
    assert result.box_classes.overall.num_objects == len(tree["annotations"])
    assert 0 < sum(result.box_classes.confusion.counts[-1]) <= alarms, "what the file sees there is a false alarm"


def test_the_file_is_measured_class_by_class(layout: Layout) -> None:
    write_conversion(layout, "maskrcnn_tiny", "int8", build_segmenter())
    blind = build_segmenter(gain=0.0)

    result = run_cell(layout, "maskrcnn_tiny")
    write_conversion(layout, "maskrcnn_tiny", "float32", blind)
    nothing = run_cell(layout, "maskrcnn_tiny", "float32")

    objects = json.loads(layout.annotations("val").read_text())["annotations"]
    counts = [sum(entry["category_id"] == category for entry in objects) for category in (1, 2, 3)]
    for classes in (result.box_classes, result.mask_classes):
        assert classes is not None
        assert list(classes.curves) == ["red", "green", "blue"]
        assert [curve.num_objects for curve in classes.curves.values()] == counts
        assert classes.confusion.score_threshold == 0.3
        assert [row[index] for index, row in enumerate(classes.confusion.counts)] == [*counts, 0]
        assert classes.overall.best is not None
        assert classes.overall.best.f1 == 1.0
    assert nothing.box_classes is not None
    assert nothing.box_classes.overall.best is None
    assert [row[-1] for row in nothing.box_classes.confusion.counts] == [*counts, 0]


def test_the_protocol_says_what_was_judged(layout: Layout) -> None:
    conversion = write_conversion(layout, "retinanet_mobiledet_tiny", "int8", build_detector())

    result = run_cell(layout, "retinanet_mobiledet_tiny")

    assert result.artifact_sha256 == conversion.sha256
    assert result.protocol is not None
    assert (result.protocol.split, result.protocol.num_images, result.protocol.split_images) == ("val", 12, 12)
    assert (result.protocol.subset, result.protocol.score_floor) == ("", 0.05)
    assert result.protocol.data_sha256 == "5" * 64
    assert result.versions["ai-edge-litert"] != "absent"


def test_outputs_on_the_pictures_are_kept_without_garbage(layout: Layout) -> None:
    write_conversion(layout, "retinanet_mobiledet_tiny", "int8", build_detector())

    run_cell(layout, "retinanet_mobiledet_tiny")

    kept = load_outputs(layout.validated_outputs("retinanet_mobiledet_tiny", "int8"))
    floats = load_outputs(layout.reference("retinanet_mobiledet_tiny"))
    assert set(kept.image_ids.tolist()) == set(choose_subset(range(1, 13), MAX_SHOWN_IMAGES))
    for index, image_id in enumerate(kept.image_ids.tolist()):
        num = int(kept.outputs["num_detections"][index])
        scores = kept.outputs["detection_scores"][index]
        np.testing.assert_allclose(scores[:num], floats.outputs_of(image_id)["detection_scores"][:num], rtol=1e-6)
        assert not scores[num:].any()


def test_a_slow_row_is_judged_on_the_fixed_subset(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    params = yaml.safe_load(layout.params.read_text()) | {"validate": {"max_seconds": 5, "subset_images": 5}}
    layout.params.write_text(yaml.safe_dump(params))
    write_conversion(layout, "retinanet_mobiledet_tiny", "int8", build_detector())
    clock = iter(np.arange(0, 1000, 0.5).tolist())  # half a second per look at the clock
    monkeypatch.setattr("stages.core.validating.gathering.time.perf_counter", lambda: next(clock))

    result = run_cell(layout, "retinanet_mobiledet_tiny")

    assert result.protocol is not None
    assert (result.protocol.num_images, result.protocol.split_images) == (5, 12)
    assert "0.50 s an image" in result.protocol.subset
    assert "max_seconds (5)" in result.protocol.subset
    assert result.agreement is not None
    assert {image.image_id for image in result.agreement.most_moved} == set(choose_subset(range(1, 13), 5))
    pictures = set(load_outputs(layout.validated_outputs("retinanet_mobiledet_tiny", "int8")).image_ids.tolist())
    assert pictures == set(choose_subset(range(1, 13), 5))


@pytest.mark.parametrize("status", [Status.FAILED, Status.NOT_APPLICABLE])
def test_a_cell_without_a_file_keeps_its_row(status: Status, layout: Layout) -> None:
    write_conversion(layout, "retinanet_mobiledet_tiny", "int8", None, status=status, reason="Flex ops: FlexErf")

    result = run_cell(layout, "retinanet_mobiledet_tiny")

    assert (result.status, result.reason, result.accuracy) == (status, "Flex ops: FlexErf", None)
    assert len(load_outputs(layout.validated_outputs("retinanet_mobiledet_tiny", "int8")).image_ids) == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [(build_crasher(), "crashed (SIGSEGV) while opening the file"), (build_refused(), "stride_height > 0")],
    ids=["crash", "refusal"],
)
def test_a_file_that_its_runtime_cannot_run_is_a_failed_row(content: bytes, reason: str, layout: Layout) -> None:
    write_conversion(layout, "maskrcnn_tiny", "int8", content)

    result = run_cell(layout, "maskrcnn_tiny")

    assert result.status is Status.FAILED
    assert reason in result.reason
    assert layout.validated_outputs("maskrcnn_tiny", "int8").is_file()


def change_split(layout: Layout) -> None:
    path = layout.reference("retinanet_mobiledet_tiny")
    with np.load(path) as file:
        arrays: dict[str, Any] = dict(file) | {"split": np.asarray("test")}
    np.savez(path, **arrays)


def remove_reference(layout: Layout) -> None:
    (layout.reference("retinanet_mobiledet_tiny")).unlink()


def change_file(layout: Layout) -> None:
    (layout.converted("retinanet_mobiledet_tiny", "int8") / "model.tflite").write_bytes(build_detector(gain=0.5))


def rename_output(layout: Layout) -> None:
    path = layout.converted("retinanet_mobiledet_tiny", "int8") / "interface.json"
    path.write_text(path.read_text().replace("detection_scores", "scores"))


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (change_split, ArtifactError, ["'test'", "'val'", "reference"]),
        (remove_reference, MissingResultError, ["retinanet_mobiledet_tiny.npz", "reference"]),
        (change_file, ArtifactError, ["model.tflite", "sha256", "convert"]),
    ],
    ids=["reference_of_another_split", "no_reference", "another_file"],
)
def test_what_the_user_can_fix_is_an_error(spoil: Any, error: Any, words: list[str], layout: Layout) -> None:
    write_conversion(layout, "retinanet_mobiledet_tiny", "int8", build_detector())
    spoil(layout)

    with pytest.raises(error) as caught:
        run_cell(layout, "retinanet_mobiledet_tiny")

    assert all(word in str(caught.value) for word in words)


def test_a_file_that_is_not_its_interface_is_a_failed_row(layout: Layout) -> None:
    write_conversion(layout, "retinanet_mobiledet_tiny", "int8", build_detector())
    rename_output(layout)

    result = run_cell(layout, "retinanet_mobiledet_tiny")

    assert result.status is Status.FAILED
    assert all(word in result.reason for word in ("model.tflite", "'scores'", "expected", "'detection_scores'"))


def test_no_tensorflow_from_start_to_end(layout: Layout) -> None:
    write_conversion(layout, "maskrcnn_tiny", "int8", build_segmenter())
    program = (
        "import json, sys\nfrom stages import validate, benchmark\n"
        "if __name__ == '__main__':\n"
        f"    args = ['--root', {str(layout.root)!r}, '--model', 'maskrcnn_tiny', '--scheme', 'int8']\n"
        "    assert validate.main(args) == 0 and benchmark.main(args) == 0\n"
        "    print(json.dumps(sorted(name.split('.')[0] for name in sys.modules)))\n"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "faster_coco_eval" in loaded
    assert not loaded & {"tensorflow", "tf_keras", "keras", "official", "mlflow"}
