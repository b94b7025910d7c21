"""COCO JSON as many tools write it, and one clear line for what cannot be read."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from dataset_builder import SQUARE, coco_annotation, coco_tree, encode, picture, polygon, write_coco

from stages.core.base.errors import DataError
from stages.core.datasets.coco import read_coco
from stages.core.datasets.samples import SourceImage

Tree = dict[str, Any]


def read(folder: Path, tree: Tree | None = None) -> list[SourceImage]:
    return list(read_coco(write_coco(folder, tree), annotations="annotations.json", images=None).images)


def test_ids_from_zero_without_info_and_licenses(tmp_path: Path) -> None:
    source = read_coco(write_coco(tmp_path), annotations="annotations.json", images="images")
    images = list(source.images)
    assert source.labels == {1: "nut", 2: "fig"}
    assert source.has_masks
    assert [image.file for image in images] == [f"{index}.jpg" for index in range(6)]
    first = images[0].objects[0]
    assert (first.category_id, first.box_xyxy, first.area, first.is_crowd) == (1, SQUARE, 900.0, False)
    assert images[0].size == (64, 96)
    assert images[0].split is None


def test_categories_with_gaps_are_numbered_in_the_order_of_their_ids(tmp_path: Path) -> None:
    tree = coco_tree(
        annotations=[coco_annotation(category_id=90)],
        categories=[{"id": 90, "name": "z"}, {"id": 7, "name": "b"}, {"id": 30, "name": "a"}],
    )
    source = read_coco(write_coco(tmp_path, tree), annotations="annotations.json", images=None)
    assert source.labels == {1: "b", 2: "a", 3: "z"}
    assert next(iter(source.images)).objects[0].category_id == 3


def test_image_ids_with_gaps_and_images_without_annotations(tmp_path: Path) -> None:
    images = [
        {"id": 900, "file_name": "a.jpg", "height": 64, "width": 96},
        {"id": 3, "file_name": "b.jpg", "height": 64, "width": 96},
    ]
    found = read(tmp_path, coco_tree(images=images, annotations=[coco_annotation(image_id=3)]))
    assert [(image.file, len(image.objects)) for image in found] == [("a.jpg", 0), ("b.jpg", 1)]


@pytest.mark.parametrize(
    "segmentation",
    [
        pytest.param(polygon(), id="polygons"),
        pytest.param({"size": [64, 96], "counts": [0, 64 * 96]}, id="uncompressed"),
        pytest.param({"size": [64, 96], "counts": "0PP6"}, id="compressed"),
    ],
)
def test_segmentations_are_handed_on(segmentation: Any, tmp_path: Path) -> None:
    tree = coco_tree(annotations=[coco_annotation(segmentation=segmentation, iscrowd=1)])
    found = read(tmp_path, tree)[0].objects[0]
    assert found.segmentation == segmentation
    assert found.is_crowd


def test_boxes_only(tmp_path: Path) -> None:
    tree = coco_tree(annotations=[coco_annotation(segmentation=None), coco_annotation(segmentation=[])])
    source = read_coco(write_coco(tmp_path, tree), annotations=None, images=None)
    assert not source.has_masks


def test_one_file_per_split_with_images_beside(tmp_path: Path) -> None:
    for folder in ("train", "valid"):
        (tmp_path / folder).mkdir()
        for number in range(6):
            (tmp_path / folder / f"{number}.jpg").write_bytes(encode(picture(number)))
        (tmp_path / folder / "a.json").write_text(json.dumps(coco_tree()))
    annotations: dict[Any, str] = {"train": "train/a.json", "val": "valid/a.json"}
    images = list(read_coco(tmp_path, annotations=annotations, images=None).images)
    assert [(image.split, image.folder.name) for image in images[::6]] == [("train", "train"), ("val", "valid")]


def test_layout_of_coco_itself(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    (tmp_path / "val2017" / "0.jpg").write_bytes(encode(picture()))
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(coco_tree()))
    images = list(read_coco(tmp_path, annotations=None, images=None).images)
    assert images[0].folder == tmp_path / "val2017"


@pytest.mark.parametrize("size", [{}, {"height": 0, "width": 0}, {"height": None, "width": 96}])
def test_missing_size_is_left_to_the_file(size: Tree, tmp_path: Path) -> None:
    assert (
        read(tmp_path, coco_tree(images=[{"id": 0, "file_name": "0.jpg", **size}], annotations=[coco_annotation()]))[
            0
        ].size
        is None
    )


@pytest.mark.parametrize("box", [None, [], [1, 2, 3], [1, 2, None, 4], [1, 2, 10**400, 4]])
def test_unreadable_box_is_left_to_checking(box: Any, tmp_path: Path) -> None:
    assert read(tmp_path, coco_tree(annotations=[coco_annotation(bbox=box)]))[0].objects[0].box_xyxy is None


def test_an_area_that_no_float_can_hold_is_none(tmp_path: Path) -> None:
    assert read(tmp_path, coco_tree(annotations=[coco_annotation(area=10**400)]))[0].objects[0].area is None


def test_objects_of_unlisted_images_are_counted(tmp_path: Path) -> None:
    tree = coco_tree(annotations=[coco_annotation(), coco_annotation(id=1, image_id=77)])
    fates = read_coco(write_coco(tmp_path, tree), annotations=None, images=None).fates
    assert [(fate.kind, fate.reason) for fate in fates] == [("object", "unknown_image")]
    assert "annotations[1]: no image with id 77" in fates[0].detail


def no_change(folder: Path) -> None: ...


def voc_instead(folder: Path) -> None:
    (folder / "annotations.json").unlink()
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "a.xml").write_text("<annotation/>")


def broken_json(folder: Path) -> None:
    (folder / "annotations.json").write_text('{"images": [\n{"id": 1,,}]}')


def endless_number(folder: Path) -> None:
    (folder / "annotations.json").write_text(f'{{"images": [{"9" * 5000}]}}')


def other_json(folder: Path) -> None:
    (folder / "annotations.json").write_text('[{"label": "nut"}]')


def second_json(folder: Path) -> None:
    (folder / "other.json").write_text("{}")


def no_pictures(folder: Path) -> None:
    for path in (folder / "images").iterdir():
        path.unlink()


@dataclass(frozen=True, kw_only=True)
class Bad:
    id: str
    tree: Tree | None = None
    change: Callable[[Path], None] = no_change
    annotations: str | None = "annotations.json"
    says: tuple[str, ...]


BAD = [
    Bad(id="broken_json", change=broken_json, says=("annotations.json", "line 2 column")),
    Bad(id="endless_number", change=endless_number, says=("annotations.json: not readable as JSON", "digits")),
    Bad(id="no_such_file", annotations="gone.json", says=("gone.json: no such file (prepare.annotations)",)),
    Bad(id="voc", change=voc_instead, annotations=None, says=("no COCO annotation JSON", "prepare.source voc")),
    Bad(id="several_files", change=second_json, annotations=None, says=("annotations.json, other.json",)),
    Bad(id="not_coco", change=other_json, says=("annotations.json: not COCO",)),
    Bad(id="no_images", tree=coco_tree(images=[], annotations=[]), says=("no images",)),
    Bad(id="no_annotations", tree=coco_tree(annotations=[]), says=("no annotations for its 6 images",)),
    Bad(id="no_categories", tree=coco_tree(categories=[], annotations=[]), says=("no categories",)),
    Bad(
        id="unknown_category",
        tree=coco_tree(annotations=[coco_annotation(category_id=5)]),
        says=("annotations[0]: unknown category_id 5 (known: 0, 1)",),
    ),
    Bad(
        id="annotation_without_image",
        tree=coco_tree(annotations=[coco_annotation(image_id=None)]),
        says=("annotations[0] has no image_id",),
    ),
    Bad(id="image_without_name", tree=coco_tree(images=[{"id": 1}]), says=("images[0] has no file_name",)),
    Bad(
        id="image_id_twice",
        tree=coco_tree(images=[{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}], annotations=[]),
        says=("image id 1 is used twice",),
    ),
    Bad(
        id="category_id_twice",
        tree=coco_tree(categories=[{"id": 0, "name": "a"}, {"id": 0, "name": "b"}]),
        says=("category id 0 is used twice",),
    ),
    Bad(
        id="category_name_twice",
        tree=coco_tree(categories=[{"id": 0, "name": "a"}, {"id": 1, "name": "a"}]),
        says=("category 'a' has several ids: [0, 1]",),
    ),
    Bad(id="no_pictures", change=no_pictures, says=("none of its images is there", "'0.jpg'", "prepare.images")),
]


@pytest.mark.parametrize("case", BAD, ids=attrgetter("id"))
def test_says_what_is_wrong(case: Bad, tmp_path: Path) -> None:
    case.change(write_coco(tmp_path, case.tree))
    with pytest.raises(DataError) as error:
        read_coco(tmp_path, annotations=case.annotations, images=None)
    assert "\n" not in str(error.value)
    for words in case.says:
        assert words in str(error.value)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder \(prepare\.path\)"):
        read_coco(tmp_path / "gone", annotations=None, images=None)
