"""Splits that share images are named with counts, whatever lists gave them, and refused where they share many."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dataset_builder import coco_tree, encode, picture, prepare_params, voc_object, voc_xml, write_voc

from stages.core.base.errors import DataError
from stages.core.datasets.leaks import find_leaks, judge_leaks
from stages.core.datasets.prepare import prepare_data
from stages.core.datasets.prepared import read_prepare_report
from stages.core.datasets.samples import Sample, Split


def sample(content: str, split: Split | None, file: str) -> Sample:
    return Sample(
        source_file=file, path=Path(file), format="jpeg", height=8, width=8, pixels_sha256=content, split=split
    )


def test_pairs_and_counts() -> None:
    samples = [sample("a", "train", "1"), sample("a", "train", "2"), sample("b", "train", "3"), sample("c", None, "4")]
    samples += [sample("a", "val", "5"), sample("c", "val", "6"), sample("b", "test", "7"), sample("a", "test", "1")]
    assert [(leak.name, leak.num_images, leak.first) for leak in find_leaks(samples)] == [
        ("train and val", 1, ("1", "5")),
        ("train and test", 2, ("1", "1")),
        ("val and test", 1, ("5", "1")),
    ]


def test_few_are_noted_and_many_refused() -> None:
    leaks = find_leaks([sample("a", "train", "1"), sample("a", "val", "1"), sample("b", "train", "2")])
    assert judge_leaks(leaks, "set", num_images=20, max_rejected_fraction=0.05) == [
        "train and val share 1 images by content (first: '1'): they stay in val alone"
    ]
    with pytest.raises(DataError, match=r"^set: train and val share 1 images by content .* allows 5\.0% of 19"):
        judge_leaks(leaks, "set", num_images=19, max_rejected_fraction=0.05)
    assert judge_leaks([], "set", num_images=1, max_rejected_fraction=0.0) == []


NUM = 40


def voc_lists(folder: Path, common: int) -> dict[str, Any]:
    """Both lists name the same stems."""
    stems = [str(index) for index in range(NUM)]
    write_voc(folder, NUM, {"train": stems[: 30 + common], "val": stems[30:]})
    return {}


def voc_copies(folder: Path, common: int) -> dict[str, Any]:
    """Copies under other names, in another container."""
    write_voc(folder, NUM, {"train": [str(i) for i in range(30)], "val": [str(i) for i in range(30, NUM)]})
    for index in range(common):
        (folder / "JPEGImages" / f"{30 + index}.jpg").unlink()
        (folder / "JPEGImages" / f"{30 + index}.png").write_bytes(encode(picture(index), "PNG"))
        (folder / "JPEGImages" / f"{index}.jpg").write_bytes(encode(picture(index), "BMP"))
        (folder / "Annotations" / f"{30 + index}.xml").write_text(voc_xml("", voc_object(("nut", "fig")[index % 2])))
    return {}


def coco_files(folder: Path, common: int) -> dict[str, Any]:
    """Two annotation files of one folder of images."""
    (folder / "images").mkdir(parents=True)
    for index in range(NUM):
        (folder / "images" / f"{index}.jpg").write_bytes(encode(picture(index)))
    tree = coco_tree(NUM)
    for name, images in (("train", range(30 + common)), ("val", range(30, NUM))):
        part = {key: [entry for entry in tree[key] if entry["id"] in images] for key in ("images", "annotations")}
        (folder / f"{name}.json").write_text(json.dumps(tree | part))
    return {"annotations": {"train": "train.json", "val": "val.json"}}


def yolo_folders(folder: Path, common: int) -> dict[str, Any]:
    """A list of training images that takes in some of val."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for index in range(NUM):
        (folder / "images" / f"{index}.jpg").write_bytes(encode(picture(index)))
        (folder / "labels" / f"{index}.txt").write_text(f"{index % 2} 0.5 0.5 0.2 0.2\n")
    for name, images in (("train", range(30 + common)), ("val", range(30, NUM))):
        (folder / f"{name}.txt").write_text("".join(f"images/{index}.jpg\n" for index in images))
    (folder / "data.yaml").write_text("names: [nut, fig]\ntrain: train.txt\nval: val.txt\n")
    return {}


WAYS = [voc_lists, voc_copies, coco_files, yolo_folders]


@pytest.mark.slow
@pytest.mark.parametrize("write", WAYS)
def test_whatever_lists_the_user_gives(write: Callable[[Path, int], dict[str, Any]], tmp_path: Path) -> None:
    source = write.__name__.split("_")[0]
    params = prepare_params(source, **write(tmp_path / "few", 2))
    report = prepare_data(params, folder=tmp_path / "few", out_dir=tmp_path / "out")
    assert report.leaks == {"train and val": 2}
    assert read_prepare_report(tmp_path / "out" / "report.json").leaks == report.leaks
    assert {name: split.num_images for name, split in report.splits.items()} == {
        "train": 28 if write is voc_copies else 30,
        "val": 10,
        "test": 0,
    }
    assert any("train and val share 2 images by content" in note for note in report.notes)

    params = prepare_params(source, **write(tmp_path / "many", 10))
    with pytest.raises(DataError, match="train and val share 10 images by content") as error:
        prepare_data(params, folder=tmp_path / "many", out_dir=tmp_path / "out")
    assert "\n" not in str(error.value)
    assert read_prepare_report(tmp_path / "out" / "report.json") == report
