"""No value in a user's file ends in a traceback: every value of every format is replaced by what it should not be."""

import csv
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from dataset_builder import prepare_params
from format_builder import as_coco, as_csv, as_labelme, as_masks, as_via, as_voc, as_yolo

from stages.core.base.errors import UserError
from stages.core.datasets.checking import CheckTask, check_image
from stages.core.datasets.prepare import decide_masks
from stages.core.datasets.readers import read_any_source, settle_source
from stages.core.datasets.workers import Workers

pytestmark = pytest.mark.slow

ODD: tuple[Any, ...] = (
    None,
    "",
    "x",
    "1",
    "NaN",
    "a\0b",
    True,
    -1,
    0,
    2**70,
    1.5,
    1e999,
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    "../x",
)


def try_reading(folder: Path, source: str, scratch: Path) -> None:
    """Reads and checks a folder; errors are those of users, in one line."""
    told = read_and_check(folder, source, scratch)
    assert "\n" not in told
    assert len(told) < 1500


def read_and_check(folder: Path, source: str, scratch: Path) -> str:
    """What the user is told; empty where the folder can be used."""
    try:
        params, _ = settle_source(prepare_params(source), folder)
        with Workers() as workers:
            read = read_any_source(params, folder, scratch, workers)
        images = list(read.images)
        needs_masks, _ = decide_masks(images, read, "auto", 0.5)
        for number, image in enumerate(images[:2]):
            check_image(
                CheckTask(
                    image=image,
                    repaired_path=scratch / f"{number}",
                    max_side=1000,
                    needs_masks=needs_masks,
                    box_form=read.box_form,
                )
            )
    except UserError as error:
        return str(error)
    return ""


def replaced(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Callable[[Any], Any]]]:
    """Paths in a tree, the first two entries of each list, with a function that puts something there."""
    if path:

        def put(value: Any) -> Any:
            changed = deepcopy(ROOTS[-1])
            spot = changed
            for key in path[:-1]:
                spot = spot[key]
            if value is Ellipsis:
                del spot[path[-1]]
            else:
                spot[path[-1]] = value
            return changed

        yield path, put
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree[:2]) if isinstance(tree, list) else ()
    for key, value in entries:
        yield from replaced(value, (*path, key))


ROOTS: list[Any] = []
"""The tree that is changed."""


def coco_with_masks(folder: Path) -> None:
    as_coco(folder, masks=True)


JSON_FORMATS = {
    "coco": (coco_with_masks, "annotations.json"),
    "labelme": (as_labelme, "0.json"),
    "via": (as_via, "via_region_data.json"),
}


@pytest.mark.parametrize("source", JSON_FORMATS)
def test_every_value_of_a_json_file(source: str, tmp_path: Path) -> None:
    write, name = JSON_FORMATS[source]
    (tmp_path / "raw").mkdir()
    (tmp_path / "scratch").mkdir()
    write(tmp_path / "raw")
    file = tmp_path / "raw" / name
    tree = json.loads(file.read_text())
    ROOTS[:] = [tree]
    found = list(replaced(tree))
    assert len(found) > 15
    for _, put in found:
        for value in (*ODD, Ellipsis):
            file.write_text(json.dumps(put(value)))
            try_reading(tmp_path / "raw", source, tmp_path / "scratch")
    for value in ODD:
        file.write_text(json.dumps(value))
        try_reading(tmp_path / "raw", source, tmp_path / "scratch")


def test_every_value_of_a_yolo_config(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    as_yolo(tmp_path / "raw")
    file = tmp_path / "raw" / "data.yaml"
    tree = {"names": ["fig", "nut"], "nc": 2, "train": "images", "val": ["images"], "test": None, "path": "/x"}
    ROOTS[:] = [tree]
    for _, put in replaced(tree):
        for value in (*ODD, Ellipsis):
            file.write_text(yaml.safe_dump(put(value)))
            try_reading(tmp_path / "raw", "yolo", tmp_path / "scratch")


WORDS = ("", "x", "nan", "inf", "-1", "1e999", "0x1", "1,5", "\0", "é", "9" * 400, "../x", '"')


def test_every_value_of_a_csv_file(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    as_csv(tmp_path / "raw")
    file = tmp_path / "raw" / "boxes.csv"
    rows = list(csv.reader(file.read_text().splitlines()))
    for line in (0, 1):
        for column in range(len(rows[0])):
            for word in WORDS:
                changed = deepcopy(rows)
                changed[line][column] = word
                file.write_text("\n".join(",".join(row) for row in changed))
                try_reading(tmp_path / "raw", "csv", tmp_path / "scratch")


def test_every_value_of_a_yolo_label(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    as_yolo(tmp_path / "raw", masks=True)
    file = tmp_path / "raw" / "labels" / "0.txt"
    words = file.read_text().split()
    for column in range(len(words)):
        for word in WORDS:
            file.write_text(" ".join([*words[:column], word, *words[column + 1 :]]))
            try_reading(tmp_path / "raw", "yolo", tmp_path / "scratch")


TAGS = ("filename", "width", "height", "name", "xmin", "ymax", "difficult", "object", "bndbox", "size", "annotation")


def test_every_value_of_an_xml_file(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    as_voc(tmp_path / "raw")
    file = tmp_path / "raw" / "Annotations" / "0.xml"
    text = file.read_text().replace("<bndbox>", "<difficult>0</difficult><bndbox>")
    for tag in TAGS:
        start, end = text.index(f"<{tag}>"), text.index(f"</{tag}>")
        for word in ("", "x", "nan", "-1", "1e999", "<a/>", "é", "9" * 400, "../x"):
            file.write_text(text[: start + len(tag) + 2] + word + text[end:])
            try_reading(tmp_path / "raw", "voc", tmp_path / "scratch")
        file.write_text(text[:start] + text[end + len(tag) + 3 :])
        try_reading(tmp_path / "raw", "voc", tmp_path / "scratch")


BYTES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "latin_1": lambda data: data + "é".encode("latin-1"),
    "zeros": lambda data: bytes(len(data)),
    "utf_16": lambda data: data.decode("latin-1").encode("utf-16"),
    "utf_16_cut": lambda data: data.decode("latin-1").encode("utf-16")[:-1],
    "picture": lambda data: b"\xff\xd8\xff\xe0" + data,
}
FILES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "coco": (as_coco, ("annotations.json", "images/0.jpg")),
    "voc": (as_voc, ("Annotations/0.xml", "JPEGImages/0.jpg")),
    "csv": (as_csv, ("boxes.csv",)),
    "yolo": (as_yolo, ("data.yaml", "labels/0.txt")),
    "labelme": (as_labelme, ("0.json",)),
    "via": (as_via, ("via_region_data.json",)),
    "masks": (as_masks, ("masks/0/fig_1.png",)),
}


@pytest.mark.parametrize("kind", BYTES)
@pytest.mark.parametrize("source", FILES)
def test_every_file_with_other_bytes(source: str, kind: str, tmp_path: Path) -> None:
    write, names = FILES[source]
    (tmp_path / "raw").mkdir()
    (tmp_path / "scratch").mkdir()
    write(tmp_path / "raw")
    for name in names:
        file = tmp_path / "raw" / name
        sound = file.read_bytes()
        file.write_bytes(BYTES[kind](sound))
        try_reading(tmp_path / "raw", source, tmp_path / "scratch")
        file.unlink()
        try_reading(tmp_path / "raw", source, tmp_path / "scratch")
        file.mkdir()
        try_reading(tmp_path / "raw", source, tmp_path / "scratch")
        file.rmdir()
        file.write_bytes(sound)
