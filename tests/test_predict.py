"""`predict` on hand-made files that really run: what it finds, what it writes, what it says of bad input."""

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image
from pycocotools.coco import COCO

from stages import predict, validate
from stages.core.base.errors import DataError, UserError
from stages.core.base.hashing import hash_file
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import Layout
from stages.core.masks.pasting import detections_to_rles
from stages.core.processing.decode import outputs_to_detections
from stages.core.processing.preprocess import place_image
from stages.core.processing.stored_outputs import load_outputs
from stages.core.results.prediction import Prediction
from stages.core.results.status import Status
from tests.core.running.test_openvino_runner import build_ir
from tests.tflite_builder import SIZE, build_crasher, build_detector, build_segmenter
from tests.tiny_project import IMAGE_SIDE, MODELS, tiny_interface, write_artifact, write_conversion, write_tiny_project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A converted folder without its record, as somebody might copy it."""
    write_artifact(tmp_path / "model", build_detector(), tiny_interface("retinanet_mobiledet_tiny"))
    return tmp_path / "model"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return write_picture(tmp_path / "picture.png")


def scene() -> np.ndarray:
    """Red (0.8) at the upper left, blue (0.4) at the lower right."""
    pixels = np.zeros((2 * SIZE, 2 * SIZE, 3), np.uint8)
    pixels[:SIZE, :SIZE, 0], pixels[SIZE:, SIZE:, 2] = 204, 102
    return pixels


def write_picture(path: Path, pixels: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene() if pixels is None else pixels).save(path)
    return path


def run(out: Path, *arguments: object) -> Prediction:
    assert predict.main([*map(str, arguments), "--out", str(out)]) == 0
    return read_json(Prediction, out / "prediction.json")


def results(out: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((out / "detections.json").read_text())
    return found


@pytest.mark.parametrize("model", MODELS)
def test_detections_are_those_of_the_validation(model: str, tmp_path: Path) -> None:
    layout = write_tiny_project(tmp_path / "project")
    write_conversion(layout, model, "int8", MODELS[model](gain=0.9))
    assert validate.main(["--root", str(layout.root), "--model", model, "--scheme", "int8"]) == 0
    stored = load_outputs(layout.validated_outputs(model, "int8"))

    out, images = tmp_path / "out", layout.split("val") / "images"
    run(out, images, "--model", layout.converted(model, "int8"), "--threshold", 0)

    interface, by_image = tiny_interface(model), list[list[dict[str, object]]]()
    for image_id in stored.image_ids.tolist():
        placement = place_image((IMAGE_SIDE, IMAGE_SIDE), interface.input)
        expected = outputs_to_detections(stored.outputs_of(image_id), interface, placement)
        found = [entry for entry in results(out) if entry["image_id"] == image_id]
        boxes = np.asarray([entry["bbox"] for entry in found]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_array_equal(boxes, expected.boxes_xyxy)
        assert [entry["score"] for entry in found] == expected.scores.tolist()
        assert [entry["category_id"] for entry in found] == expected.classes.tolist()
        if model == "maskrcnn_tiny":
            counts = [rle["counts"] for rle in detections_to_rles(expected)]
            assert [entry["segmentation"]["counts"].encode() for entry in found] == counts  # type: ignore[index]
        by_image.append(found)
    assert sum(map(len, by_image)) > 12


def test_everything_is_written(folder: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prediction = run(out, picture, "--model", folder, "--crops")

    assert (prediction.num_images, prediction.objects_per_class) == (1, {"blue": 1, "red": 1})
    assert prediction.artifact_sha256 == hash_file(folder / "model.tflite")
    assert prediction.images_per_second > 0
    with (out / "detections.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["class"], row["score"], row["x_min"], row["x_max"]) for row in rows] == [
        ("red", "0.8000", "0.00", "8.00"),
        ("blue", "0.4000", "8.00", "16.00"),
    ]
    with Image.open(out / "crops" / "red" / "picture_1.png") as crop:
        assert crop.size == (SIZE, SIZE)
        assert crop.getpixel((3, 3)) == (204, 0, 0)
    with Image.open(out / "drawn" / "picture.png") as drawn:
        assert drawn.size == (480, 480)
    coco = COCO(out / "images.json").loadRes(str(out / "detections.json"))
    assert sorted(coco.loadCats(entry["category_id"])[0]["name"] for entry in coco.anns.values()) == ["blue", "red"]


def test_the_threshold_is_inclusive_and_can_be_moved(folder: Path, picture: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "a", picture, "--model", folder).num_objects == 2
    assert run(tmp_path / "b", picture, "--model", folder, "--threshold", 0.5).num_objects == 1


@pytest.mark.parametrize("turn", [3, 6, 8])
def test_exif_orientation_is_honoured(folder: Path, picture: Path, tmp_path: Path, turn: int) -> None:
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[turn]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    Image.fromarray(scene()).transpose(back).save(tmp_path / "turned.png", exif=exif)

    run(tmp_path / "upright", picture, "--model", folder)
    run(tmp_path / "turned", tmp_path / "turned.png", "--model", folder)

    assert results(tmp_path / "turned") == results(tmp_path / "upright")
    drawn = [Image.open(tmp_path / name) for name in ("turned/drawn/turned.png", "upright/drawn/picture.png")]
    np.testing.assert_array_equal(*drawn)


def test_openvino_files_run_the_same(folder: Path, picture: Path, tmp_path: Path) -> None:
    build_ir(tmp_path / "ir")
    prediction = run(tmp_path / "out", picture, "--model", tmp_path / "ir", "--float-model", folder)
    assert prediction.runtime.startswith("openvino 20")
    assert prediction.objects_per_class == {"blue": 1, "red": 1}


def test_the_float_model_is_drawn_beside_the_file(picture: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for scheme, gain in (("float32", 1.0), ("int8", 0.5)):
        write_conversion(layout, "retinanet_mobiledet_tiny", scheme, build_detector(gain=gain))
    folder = layout.converted("retinanet_mobiledet_tiny", "int8")

    prediction = run(tmp_path / "out", picture, "--model", folder, "--show-float")
    alone = run(tmp_path / "alone", picture, "--model", folder)

    assert prediction.float_artifact == str(folder.parent / "float32" / "model.tflite")
    assert alone.float_artifact is None
    assert prediction.objects_per_class == alone.objects_per_class == {"red": 1}
    with Image.open(tmp_path / "out" / "drawn" / "picture.png") as drawn:
        assert drawn.width == 2 * 480
        left, right = (np.asarray(drawn)[-240:, x : x + 480] for x in (0, 480))
    assert not np.array_equal(left, right), "the float model finds the blue one as well"


PATH_KEYS = {
    "a folder": (["photos"], ["a.png", "b.jpg"]),
    "a pattern": (["photos/*.jpg"], ["b.jpg"]),
    "folders within": (["photos/**/*"], ["a.png", "b.jpg", "c.webp"]),
    "one twice": (["photos/b.jpg", "photos", "photos/../photos/b.jpg"], ["b.jpg", "a.png"]),
    "two of one name": (["photos/a.png", "other/a.png"], ["a.png", "a_2.png"]),
}


@pytest.mark.parametrize("case", PATH_KEYS)
def test_what_images_can_be(case: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("photos/a.png", "photos/b.jpg", "photos/deeper/c.webp", "other/a.png"):
        write_picture(tmp_path / name)
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    patterns, expected = PATH_KEYS[case]

    assert run(tmp_path / "out", *patterns, "--model", folder).num_images == len(expected)

    images = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    drawn = {path.stem for path in (tmp_path / "out" / "drawn").iterdir()}
    assert drawn == {Path(name).stem for name in expected}
    if case != "two of one name":
        assert [Path(image["file_name"]).name for image in images] == expected


def write_video(path: Path, *, pictures: int = 3) -> Path:
    pixels = cv2.cvtColor(np.kron(scene(), np.ones((8, 8, 1), np.uint8)), cv2.COLOR_RGB2BGR)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 12.0, (128, 128))
    for _ in range(pictures):
        writer.write(pixels)
    writer.release()
    return path


def test_a_video_becomes_a_video(folder: Path, picture: Path, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4")

    prediction = run(tmp_path / "out", clip, picture, "--model", folder, "--crops")

    assert (prediction.num_images, prediction.objects_per_class) == (4, {"blue": 4, "red": 4})
    images = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    assert [Path(image["file_name"]).name for image in images[:2]] == ["clip.mp4#1", "clip.mp4#2"]
    capture = cv2.VideoCapture(str(tmp_path / "out" / "drawn" / "clip.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12)
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 512
    assert len(list((tmp_path / "out" / "crops" / "red").iterdir())) == 4


def test_without_its_library_a_video_is_an_error(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_video(tmp_path / "clip.mp4")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"clip\.mp4: reading a video needs OpenCV.*edge-detectors\[video\]"):
        predict.main([str(clip), "--model", str(folder)])


def test_what_cannot_be_read_is_skipped_and_counted(folder: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_picture(photos / "a.png")
    (photos / "b.jpg").write_bytes(b"not a picture")
    (photos / "c.png").write_bytes((photos / "a.png").read_bytes()[:60])
    (photos / "d.mp4").write_bytes(b"not a video")
    write_picture(photos / "e.png")

    with pytest.raises(DataError, match=r"^3 of 5 files skipped: .*b\.jpg: unreadable: .*c\.png: .*d\.mp4: no picture"):
        predict.main([str(photos), "--model", str(folder), "--out", str(out)])

    prediction = read_json(Prediction, out / "prediction.json")
    assert (prediction.num_images, len(prediction.skipped)) == (2, 3)
    assert {path.name for path in (out / "drawn").iterdir()} == {"a.png", "e.png"}


def test_an_earlier_prediction_is_replaced_and_nothing_else(folder: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, picture, "--model", folder, "--crops")
    run(out, picture, "--model", folder)
    assert not (out / "crops").exists()
    (out / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match=r"--out: .* holds mine\.txt; expected a new folder"):
        predict.main([str(picture), "--model", str(folder), "--out", str(out)])
    assert (out / "mine.txt").read_text() == "keep me"
    assert (out / "detections.json").is_file()


@dataclass(frozen=True)
class Bad:
    """One mistake: what is done to the model's folder, the arguments, and what the line says."""

    id: str
    says: str
    spoil: Callable[[Path], object] = lambda folder: None
    images: str = "picture.png"
    model: str = "model"
    extra: tuple[str, ...] = ()


def fail_conversion(folder: Path) -> None:
    layout = Layout(folder.parent)
    status, reason = Status.FAILED, "the runtime crashed"
    write_conversion(layout, "maskrcnn_tiny", "int8", build_segmenter(), status=status, reason=reason)


def alter(folder: Path) -> None:
    layout = Layout(folder.parent)
    write_conversion(layout, "maskrcnn_tiny", "int8", build_segmenter())
    (layout.converted("maskrcnn_tiny", "int8") / "model.tflite").write_bytes(build_segmenter(gain=0.5))


def halve_an_ir(folder: Path) -> None:
    (folder / "model.xml").touch()


def swap_models(folder: Path) -> None:
    (folder / "model.tflite").write_bytes(build_segmenter())


CONVERTED = "models/converted/maskrcnn_tiny/int8"
CASES = (
    Bad("no_image", r"nowhere\.png: no such image, folder or video", images="nowhere.png"),
    Bad("no_pictures", r"model: a folder without images or videos \(2 other files\); expected one of", images="model"),
    Bad("no_match", r"\*\.jpg: no image or video has such a name", images="*.jpg"),
    Bad("bad_pattern", r"a\*\*b: not a pattern for file names", images="a**b"),
    Bad("none_decodes", r"none of 1 files could be read: .*junk\.png: unreadable", images="junk.png"),
    Bad("no_model", r"modell: no such model", model="modell"),
    Bad("no_scheme", r"int9: no such model; .* holds int8", alter, model=CONVERTED.replace("int8", "int9")),
    Bad("no_interface", r"model: no interface\.json beside", lambda f: (f / "interface.json").unlink()),
    Bad("foreign_file", r"foreign\.tflite: no interface\.json beside", model="foreign.tflite"),
    Bad("no_file", r"model: no model file, expected model\.tflite or", lambda f: (f / "model.tflite").unlink()),
    Bad("not_a_model", r"interface\.json: not a model file, expected one of \.tflite", model="model/interface.json"),
    Bad("half_an_ir", r"model\.bin: no such file; .* one model", halve_an_ir, model="model/model.xml"),
    Bad("not_converted", r"no model to run: failed: the runtime crashed", fail_conversion, model=CONVERTED),
    Bad("altered", r"not the file that was converted: sha256", alter, model=CONVERTED),
    Bad("crash", r"SIGSEGV", lambda f: (f / "model.tflite").write_bytes(build_crasher())),
    Bad("other_tensors", r"outputs .* expected .*interface", swap_models),
    Bad("no_float", r"float32: no such folder, so there is no float model", extra=("--show-float",)),
    Bad("threshold", r"--threshold: expected a number from 0 to 1", extra=("--threshold", "30")),
    Bad("font", r"junk\.png: not a font", extra=("--font", "junk.png")),
    Bad("out_is_a_file", r"--out: .*junk\.png is a file", extra=("--out", "junk.png")),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=attrgetter("id"))
def test_bad_input_is_one_line(
    case: Bad, folder: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "junk.png").write_bytes(b"junk")
    (tmp_path / "foreign.tflite").write_bytes(build_detector())
    case.spoil(folder)

    with pytest.raises(UserError, match=case.says) as caught:
        predict.main([case.images, "--model", case.model, *case.extra])

    assert "\n" not in str(caught.value)
    assert not (tmp_path / "predictions").exists()
    assert (tmp_path / "junk.png").read_bytes() == b"junk"
