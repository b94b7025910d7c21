"""Annotation files as tools write them, through the whole of `prepare`: read as meant, or one line says why not."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import yaml
from dataset_builder import (
    coco_annotation,
    coco_tree,
    encode,
    picture,
    polygon,
    prepare_params,
    voc_object,
    voc_xml,
    with_orientation,
    write_coco,
    write_voc,
)

from stages.core.base.errors import DataError
from stages.core.datasets.prepare import prepare_data
from stages.core.datasets.prepared import read_labels
from stages.core.params.steps import PrepareParams

pytestmark = pytest.mark.slow

NUM = 12
Tree = dict[str, Any]


def keep(tree: Tree) -> None:
    """As it is."""


def tree_of(change: Callable[[Tree], Any], *, masks: bool = False) -> Tree:
    """Twelve images with two objects each, changed in place."""
    tree = coco_tree(NUM)
    tree["annotations"] = [
        coco_annotation(
            id=index,
            image_id=index // 2,
            category_id=index % 2,
            bbox=[10 + index, 20, 30, 30],
            segmentation=polygon((10 + index, 20, 40 + index, 50)) if masks else None,
            area=None,
        )
        for index in range(2 * NUM)
    ]
    change(tree)
    return tree


def each(key: str, make: Callable[[Tree], Any], kind: str = "annotations") -> Callable[[Tree], None]:
    """Replaces one key of every entry."""

    def change(tree: Tree) -> None:
        for entry in tree[kind]:
            entry[key] = make(entry)

    return change


def ids_as_text(tree: Tree) -> None:
    for kind, key in (("annotations", "image_id"), ("annotations", "category_id"), ("images", "id")):
        each(key, lambda entry, key=key: str(entry[key]), kind)(tree)  # type: ignore[misc]


def listed_per_object(tree: Tree) -> None:
    names = {image["id"]: image for image in tree["images"]}
    tree["images"] = [{**names[entry["image_id"]], "id": entry["id"]} for entry in tree["annotations"]]
    for entry in tree["annotations"]:
        entry["image_id"] = entry["id"]


def root(name: str) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        tree["categories"] = [{"id": 99, "name": name, "supercategory": "none"}] + [
            {**entry, "supercategory": name} for entry in tree["categories"]
        ]

    return change


def renamed(*names: str) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        for entry, name in zip(tree["categories"], names, strict=True):
            entry["name"] = name

    return change


def corners_for_sides(entry: Tree) -> list[float]:
    x, y, width, height = entry["bbox"]
    return [x, y, x + width, y + height]


@dataclass(frozen=True, kw_only=True)
class Odd:
    """A change to a sound COCO set, and what becomes of it: all 24 objects, or so many; or the words of the error."""

    id: str
    change: Callable[[Tree], Any] = keep
    masks: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    images: int = NUM
    objects: int = 2 * NUM
    ignored: int = 0
    labels: tuple[str, ...] = ("nut", "fig")
    reasons: dict[str, int] = field(default_factory=dict)
    has_masks: bool | None = None
    notes: tuple[str, ...] = ()
    says: str = ""


ODD = [
    # Flags and numbers.
    Odd(id="iscrowd_text_0", change=each("iscrowd", lambda _: "0")),
    Odd(id="iscrowd_false", change=each("iscrowd", lambda _: False)),
    Odd(id="iscrowd_text_1", change=lambda tree: tree["annotations"][0].update(iscrowd="1"), ignored=1),
    Odd(
        id="iscrowd_word",
        change=each("iscrowd", lambda _: "maybe"),
        says="annotations[0].iscrowd is 'maybe': text, expected 0 or 1",
    ),
    Odd(id="all_crowds", change=each("iscrowd", lambda _: 1), says="that are ignored (crowds, and prepare.difficult)"),
    Odd(
        id="mostly_crowds",
        change=each("iscrowd", lambda entry: int(entry["id"] % 8 != 0)),
        ignored=21,
        params={"split": {"val": 0.5}},
        notes=("21 of 24 objects are crowds (iscrowd)",),
    ),
    Odd(id="ids_as_text", change=ids_as_text),
    Odd(id="ids_as_floats", change=each("category_id", lambda entry: float(entry["category_id"]))),
    Odd(
        id="id_is_a_list",
        change=each("image_id", lambda _: [1]),
        says="annotations[0].image_id is [1]: list, expected an id",
    ),
    Odd(id="sizes_as_text", change=each("width", lambda _: "96", "images")),
    Odd(
        id="size_is_a_word",
        change=each("height", lambda _: "high", "images"),
        says="images[0].height is 'high': text, expected a number",
    ),
    Odd(id="coordinates_as_text", change=each("bbox", lambda entry: [str(value) for value in entry["bbox"]])),
    Odd(
        id="coordinate_is_a_word",
        change=each("bbox", lambda _: ["a", 1, 2, 3]),
        says="annotations[0].bbox[0] is 'a': text, expected a number",
    ),
    Odd(
        id="box_is_text",
        change=each("bbox", lambda _: "1 2 3 4"),
        says="annotations[0].bbox is '1 2 3 4': text, expected a list of four",
    ),
    Odd(
        id="area_is_a_list",
        change=each("area", lambda _: []),
        says="annotations[0].area is []: list, expected a number",
    ),
    # Boxes of the whole set.
    Odd(
        id="fractions",
        change=each("bbox", lambda entry: [value / 100 for value in entry["bbox"]]),
        says="boxes lie within 0..1",
    ),
    Odd(
        id="corners_for_sides",
        change=each("bbox", corners_for_sides),
        says="boxes leave their image as [x, y, width, height]",
    ),
    # Categories.
    Odd(id="root", change=root("animals"), notes=("category 'animals' (id 99) is left out: the root",)),
    Odd(id="root_with_the_name_of_a_class", change=root("fig"), notes=("category 'fig' (id 99) is left out",)),
    Odd(id="blanks_around", change=renamed(" nut", "fig  ")),
    Odd(
        id="differ_by_blanks",
        change=renamed("nut", "nut "),
        params={"min_classes": 1},
        labels=("nut",),
        notes=("categories 'nut', 'nut ' differ only by blanks: they are one class",),
    ),
    Odd(
        id="differ_by_case",
        change=renamed("nut", "Nut"),
        labels=("nut", "Nut"),
        notes=("classes 'nut', 'Nut' differ only by case",),
    ),
    Odd(id="one_name_twice", change=renamed("nut", "nut"), says="category 'nut' has several ids: [0, 1]"),
    # Masks.
    Odd(id="masks", masks=True, has_masks=True),
    Odd(id="mask_of_nothing", change=each("segmentation", lambda _: [[]]), has_masks=False),
    Odd(id="mask_of_zeros", change=each("segmentation", lambda _: [[0, 0, 0, 0, 0, 0, 0, 0]]), has_masks=False),
    Odd(
        id="mask_without_runs", change=each("segmentation", lambda _: {"size": [64, 96], "counts": []}), has_masks=False
    ),
    Odd(id="box_for_a_polygon", change=each("segmentation", lambda entry: [corners_for_sides(entry)]), has_masks=False),
    Odd(
        id="masks_for_some",
        change=lambda tree: [entry.pop("segmentation") for entry in tree["annotations"][5:]],
        masks=True,
        has_masks=False,
        notes=("5 of 24 objects have a mask: all masks are dropped",),
    ),
    Odd(
        id="masks_for_some_required",
        change=lambda tree: [entry.pop("segmentation") for entry in tree["annotations"][20:]],
        masks=True,
        params={"masks": "require", "max_rejected_fraction": 0.5},
        has_masks=True,
        objects=20,
        reasons={"no_mask": 4},
    ),
    Odd(id="masks_dropped", masks=True, params={"masks": "drop"}, has_masks=False),
    Odd(
        id="box_of_no_size_beside_a_mask",
        change=each("bbox", lambda _: [0, 0, 0, 0]),
        masks=True,
        has_masks=True,
        reasons={"box_from_mask": 24},
    ),
    Odd(
        id="crowd_without_mask",
        change=lambda tree: tree["annotations"][0].update(iscrowd=1, segmentation=[]),
        masks=True,
        has_masks=True,
        ignored=1,
        reasons={"mask_from_box": 1},
    ),
    Odd(
        id="rle_of_another_size",
        change=lambda tree: tree["annotations"][0].update(segmentation={"size": [96, 64], "counts": [0, 96 * 64]}),
        masks=True,
        has_masks=True,
        objects=23,
        reasons={"bad_mask": 1},
    ),
    # Entries.
    Odd(id="listed_per_object", change=listed_per_object, notes=("12 images are listed 24 times",)),
    Odd(
        id="annotated_twice",
        change=lambda tree: tree["annotations"].extend({**entry, "id": 50} for entry in tree["annotations"][:12]),
        reasons={"duplicate": 12},
    ),
    Odd(
        id="sides_swapped",
        change=lambda tree: [entry.update(width=64, height=96) for entry in tree["images"]],
        says="annotation says 64x96 (width and height swapped)",
    ),
    # Names.
    Odd(
        id="names_of_another_machine",
        change=each("file_name", lambda entry: f"..\\..\\media\\{entry['file_name']}", "images"),
        reasons={"found_by_name": 12},
        notes=("12 of 12 images were found by the last part of their name alone",),
    ),
    Odd(
        id="names_that_nothing_fits",
        change=each("file_name", lambda _: "../gone.jpg", "images"),
        says="(first: '../gone.jpg': unsafe_name",
    ),
]


@pytest.mark.parametrize("case", ODD, ids=attrgetter("id"))
def test_coco(case: Odd, tmp_path: Path) -> None:
    sound, tree = tree_of(keep), tree_of(case.change, masks=case.masks)
    write_coco(tmp_path / "raw", sound)
    (tmp_path / "raw" / "annotations.json").write_text(json.dumps(tree))
    params = prepare_params("coco", **case.params)
    if case.says:
        with pytest.raises(DataError) as error:
            prepare_data(params, folder=tmp_path / "raw", out_dir=tmp_path / "out")
        assert case.says in str(error.value)
        assert "\n" not in str(error.value)
        return
    report = prepare_data(params, folder=tmp_path / "raw", out_dir=tmp_path / "out")
    assert (report.images_kept, report.objects_kept) == (case.images, case.objects)
    assert sum(split.num_ignored for split in report.splits.values()) == case.ignored
    assert tuple(read_labels(tmp_path / "out" / "labels.json").values()) == case.labels
    assert report.reasons == case.reasons
    assert len(report.notes) == len(case.notes)
    for note, words in zip(report.notes, case.notes, strict=True):
        assert words in note
    if case.has_masks is not None:
        tree = json.loads((tmp_path / "out" / "train" / "annotations.json").read_text())
        assert all(("segmentation" in entry) == case.has_masks for entry in tree["annotations"])


def test_a_macs_own_files_are_passed_over(tmp_path: Path) -> None:
    write_coco(tmp_path / "coco", tree_of(keep))
    write_voc(tmp_path / "voc", NUM)
    for name in ("coco/._annotations.json", "coco/images/._0.jpg", "voc/Annotations/._0.xml", "voc/JPEGImages/._0.jpg"):
        (tmp_path / name).write_bytes(b"\0\5\26\7")
    for source in ("coco", "voc"):
        report = prepare_data(prepare_params(source), folder=tmp_path / source, out_dir=tmp_path / "out")
        assert (report.images_found, report.images_kept) == (NUM, NUM)


@pytest.mark.parametrize("shape", [(8000, 24), (24, 8000), (6000, 40)])
def test_pictures_that_would_shrink_to_nothing_are_rejected(shape: tuple[int, int], tmp_path: Path) -> None:
    tree = tree_of(keep)
    tree["images"][0] |= {"height": shape[0], "width": shape[1]}
    write_coco(tmp_path / "raw", tree, {"0.jpg": encode(picture(0, *shape))})
    params = prepare_params("coco", max_rejected_fraction=0.2)
    report = prepare_data(params, folder=tmp_path / "raw", out_dir=tmp_path / "out")
    assert report.reasons == {"too_narrow": 1}
    assert "prepare.min_shrunk_side is 4" in report.fates[0].detail
    all_kept = prepare_data(
        prepare_params("coco", min_shrunk_side=0), folder=tmp_path / "raw", out_dir=tmp_path / "out"
    )
    assert all_kept.images_kept == NUM


@pytest.mark.parametrize("orientation", [2, 3, 4])
@pytest.mark.parametrize(
    ("exif", "fates"), [("auto", "exif_ambiguous"), ("turn", "turned"), ("keep", "left as stored")]
)
def test_orientations_that_sizes_do_not_show(exif: str, fates: str, orientation: int, tmp_path: Path) -> None:
    write_coco(tmp_path / "raw", tree_of(keep), {"0.jpg": with_orientation(picture(0), orientation)})
    params = prepare_params("coco", exif=exif, max_rejected_fraction=0.2)
    report = prepare_data(params, folder=tmp_path / "raw", out_dir=tmp_path / "out")
    (fate,) = report.fates
    assert fates in (fate.reason, fate.detail.removeprefix(f"orientation {orientation}, "))
    assert report.images_kept == (NUM - 1 if exif == "auto" else NUM)


def voc_boxes(folder: Path, make: Callable[[int], tuple[float, ...]]) -> Path:
    write_voc(folder, NUM)
    for index in range(NUM):
        xml = voc_xml(f"{index}.jpg", voc_object(("nut", "fig")[index % 2], make(index)))
        (folder / "Annotations" / f"{index}.xml").write_text(xml)
    return folder


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda index: (0.1, 0.2, 0.3 + index / 50, 0.9), "12 of 12 boxes lie within 0..1", id="fractions"),
        pytest.param(lambda index: (40 + index, 30, 20, 20), "maximum below their minimum", id="sides_for_corners"),
    ],
)
def test_voc_boxes_of_the_whole_set(make: Callable[[int], tuple[float, ...]], says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        prepare_data(prepare_params("voc"), folder=voc_boxes(tmp_path / "raw", make), out_dir=tmp_path / "out")


REFUSED_SAMPLES = {
    "boxes_normalised": "48 of 48 boxes lie within 0..1",
    "boxes_xyxy": "boxes leave their image as [x, y, width, height]",
    "iscrowd_everywhere": "that are ignored (crowds",
}
SAMPLES = Path(os.environ.get("DETECTION_SAMPLES", "none"), "odd_annotations")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="DETECTION_SAMPLES is not set")
@pytest.mark.parametrize(
    "name", sorted(path.name for path in SAMPLES.iterdir() if path.is_dir()) if SAMPLES.is_dir() else ["none"]
)
def test_samples(name: str, tmp_path: Path) -> None:
    params = PrepareParams.model_validate(yaml.safe_load((SAMPLES / name / "params.yaml").read_text())["prepare"])
    if name in REFUSED_SAMPLES:
        with pytest.raises(DataError) as error:
            prepare_data(params, folder=SAMPLES / name / params.path, out_dir=tmp_path / "out")
        assert REFUSED_SAMPLES[name] in str(error.value)
        return
    report = prepare_data(params, folder=SAMPLES / name / params.path, out_dir=tmp_path / "out")
    kept = (21, 42) if name == "very_long_pictures" else (24, 48)
    assert (report.images_kept, report.objects_kept) == kept
    assert read_labels(tmp_path / "out" / "labels.json") == {1: "cat", 2: "dog"}
    assert not any(split.num_ignored for split in report.splits.values())
    assert "greyscale" not in report.reasons
