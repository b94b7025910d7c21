"""One data set in every format gives one prepared set; `auto` and a wrong source find the right one."""

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_builder import SQUARE, prepare_params
from format_builder import NUM, WRITERS, as_coco, as_csv, as_voc, as_yolo

from stages.core.base.errors import DataError, ParamsError, UserError
from stages.core.datasets.folder_hints import FORMATS, recognise_folder
from stages.core.datasets.prepare import prepare_data
from stages.core.datasets.readers import READERS, read_any_source, settle_source
from stages.core.datasets.workers import Workers

pytestmark = pytest.mark.slow

HAS_MASKS = {"labelme", "via", "masks"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each format. Read only."""
    top = tmp_path_factory.mktemp("formats")
    for source, write in WRITERS.items():
        (top / source).mkdir()
        write(top / source)
    return top


def test_every_format_has_a_writer() -> None:
    assert list(WRITERS) == list(FORMATS)


@pytest.mark.parametrize("source", WRITERS)
def test_all_formats_say_the_same(source: str, sets: Path, tmp_path: Path) -> None:
    report = prepare_data(prepare_params("auto"), folder=sets / source, out_dir=tmp_path / "out")
    assert (report.source, report.images_kept, report.objects_kept) == (source, NUM, NUM)
    assert not set(report.reasons) - {"box_from_mask"}
    (note,) = report.notes
    assert f"is read as {source}, as it holds" in note
    trees = [json.loads((tmp_path / "out" / split / "annotations.json").read_text()) for split in ("train", "val")]
    found: list[tuple[str, str, Any]] = []
    for tree in trees:
        names = {category["id"]: category["name"] for category in tree["categories"]}
        files = {image["id"]: Path(image["source_file"]).name for image in tree["images"]}
        for entry in tree["annotations"]:
            found.append((files[entry["image_id"]], names[entry["category_id"]], entry["bbox"]))
            assert ("segmentation" in entry) == (source in HAS_MASKS)
            assert entry["area"] == pytest.approx(900, abs=0.01)
    assert [(file, name) for file, name, _ in sorted(found)] == [
        (f"{index}.jpg", ("fig", "nut")[index % 2]) for index in range(NUM)
    ]
    x_min, y_min, x_max, y_max = SQUARE
    for _, _, box in found:
        assert box == pytest.approx([x_min, y_min, x_max - x_min, y_max - y_min], abs=1e-3)


@pytest.mark.parametrize("source", WRITERS)
def test_each_folder_is_one_format(source: str, sets: Path) -> None:
    assert recognise_folder(sets / source) == [source]


@pytest.mark.parametrize("wrong", WRITERS)
@pytest.mark.parametrize("source", WRITERS)
def test_a_wrong_source_names_the_right_one(source: str, wrong: str, sets: Path, tmp_path: Path) -> None:
    if source == wrong:
        return
    with pytest.raises(UserError) as error, Workers() as workers:
        read_any_source(prepare_params(wrong), sets / source, tmp_path, workers)
    assert f"is prepare.source {source}?" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "value"), [("annotations", "a.json"), ("images", "images"), ("label_map", "a.pbtxt")])
@pytest.mark.parametrize("source", FORMATS)
def test_parameters_of_other_sources_are_refused(source: str, name: str, value: str, sets: Path) -> None:
    params = prepare_params(source, **{name: value})
    if name in READERS[source].uses:
        assert settle_source(params, sets / source)[0] == params
        return
    with pytest.raises(ParamsError, match=rf"^prepare\.{name}: only for source .*; source {source} does not use it"):
        settle_source(params, sets / source)


def test_auto_does_not_guess(tmp_path: Path) -> None:
    as_coco(tmp_path / "both")
    as_voc(tmp_path / "both")
    (tmp_path / "empty").mkdir()
    for folder, says in (
        ("both", "could be coco or voc"),
        ("empty", "is none of the formats"),
        ("gone", "no such folder"),
    ):
        with pytest.raises(DataError, match=says):
            settle_source(prepare_params("auto"), tmp_path / folder)


def test_yolo_has_its_splits_in_one_file(tmp_path: Path) -> None:
    as_yolo(tmp_path / "raw")
    with pytest.raises(ParamsError, match="source yolo has its splits in one file"):
        settle_source(prepare_params("yolo", annotations={"train": "data.yaml"}), tmp_path / "raw")


def test_csv_of_other_things_is_no_csv_of_boxes(tmp_path: Path) -> None:
    as_csv(tmp_path / "raw")
    (tmp_path / "raw" / "boxes.csv").write_text("time,loss\n1,2\n")
    assert recognise_folder(tmp_path / "raw") == []
