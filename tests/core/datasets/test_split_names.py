"""Splits by the names of files and folders, as exporters lay data sets out; else they must be named."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from dataset_builder import coco_tree, encode, picture, prepare_params
from format_builder import as_csv, as_labelme, as_via, as_voc, as_yolo

from stages.core.base.errors import DataError
from stages.core.datasets.coco import find_annotations
from stages.core.datasets.readers import read_any_source
from stages.core.datasets.split_names import one_file_per_split, split_by_name, splits_of_folders
from stages.core.datasets.workers import Workers


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train/_annotations.coco.json", "train"),
        ("valid/_annotations.coco.json", "val"),
        ("annotations/instances_val2017.json", "val"),
        ("test_labels.csv", "test"),
        ("Training/a.xml", "train"),
        ("train/val.json", "val"),
        ("a.json", None),
        ("trainer.json", None),
        ("train_and_test.json", None),
        ("trainval.txt", None),
    ],
)
def test_names(path: str, split: str | None) -> None:
    assert split_by_name(path) == split


@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        (["train/a", "valid/b", "test/c"], ["train", "val", "test"]),
        (["x/train/a", "x/val/b"], ["train", "val"]),
        (["train/a", "b"], [None, None]),
        (["train/a", "train/b"], [None, None]),
        (["val/a", "test/b"], [None, None]),
        (["train/test/a", "val/b"], [None, None]),
        ([], []),
    ],
)
def test_folders(paths: list[str], splits: list[Any]) -> None:
    assert splits_of_folders(paths) == splits


def test_two_files_of_one_split_are_not_told_apart() -> None:
    assert one_file_per_split(["instances_train.json", "captions_train.json", "instances_val.json"]) == {}
    assert one_file_per_split(["train.json", "val.json", "other.json"]) == {}


def read(source: str, folder: Path) -> dict[str | None, int]:
    (folder.parent / "scratch").mkdir(exist_ok=True)
    with Workers() as workers:
        found = read_any_source(prepare_params(source), folder, folder.parent / "scratch", workers)
    images = list(found.images)
    for image in images:
        assert image.split is None or {"val": "valid"}.get(image.split, image.split) in str(image.folder / image.file)
    assert any("splits by the names of" in note for note in found.notes)
    return {split: sum(image.split == split for image in images) for split in ("train", "val", None)}


@pytest.mark.parametrize("source", ["coco", "voc", "csv", "yolo", "labelme", "via"])
def test_a_folder_for_each_split(source: str, tmp_path: Path) -> None:
    writers: dict[str, Any] = {"voc": as_voc, "csv": as_csv, "yolo": as_yolo, "labelme": as_labelme, "via": as_via}
    for split in ("train", "valid"):
        folder = tmp_path / "raw" / split
        folder.mkdir(parents=True)
        if source == "coco":  # as Roboflow exports it
            (folder / "_annotations.coco.json").write_text(json.dumps(coco_tree()))
            for index in range(6):
                (folder / f"{index}.jpg").write_bytes(encode(picture(index)))
        else:
            writers[source](folder)
    if source == "yolo":
        shutil.move(tmp_path / "raw" / "train" / "data.yaml", tmp_path / "raw" / "data.yaml")
        (tmp_path / "raw" / "valid" / "data.yaml").unlink()
    assert read(source, tmp_path / "raw") == {"train": 6, "val": 6, None: 0}


def test_several_files_that_names_do_not_tell_apart(tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        (tmp_path / name).write_text(json.dumps(coco_tree()))
    with pytest.raises(DataError, match=r"several COCO JSON files \(one\.json, two\.json\)"):
        find_annotations(tmp_path, None)
    (tmp_path / "two.json").write_text('{"version": 2}')
    assert find_annotations(tmp_path, None)[0] == {None: tmp_path / "one.json"}
