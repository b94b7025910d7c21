"""labelme and VIA: shapes, classes and names of images, and one clear line for what cannot be read."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from dataset_builder import encode, picture
from format_builder import NUM, as_labelme, as_via, via_region, write_pictures

from stages.core.base.errors import DataError
from stages.core.datasets.outline_files import read_labelme, read_via
from stages.core.datasets.samples import Source, SourceImage
from stages.core.masks.segmentations import segmentation_to_mask

SQUARE = [[10, 20], [40, 20], [40, 50], [10, 50]]


def labelme_shape(**changes: Any) -> dict[str, Any]:
    return {"label": "nut", "points": SQUARE, "shape_type": "polygon", "group_id": None} | changes


def write_labelme(folder: Path, *shapes: Any, **changes: Any) -> Path:
    (folder / "a.jpg").write_bytes(encode(picture()))
    tree = {"version": "5", "shapes": list(shapes), "imagePath": "a.jpg", "imageHeight": 64, "imageWidth": 96} | changes
    (folder / "a.json").write_text(json.dumps(tree))
    return folder


def labelme(folder: Path) -> tuple[Source, list[SourceImage]]:
    source = read_labelme(folder, images=None)
    return source, list(source.images)


def test_polygons_rectangles_and_circles(tmp_path: Path) -> None:
    shapes = [
        labelme_shape(),
        labelme_shape(shape_type="rectangle", points=[[40, 50], [10, 20]]),
        labelme_shape(shape_type="circle", points=[[30, 30], [30, 40]]),
    ]
    source, (image,) = labelme(write_labelme(tmp_path, *shapes))
    assert image.size == (64, 96)
    assert [found.box_xyxy for found in image.objects[:2]] == [(10, 20, 40, 50)] * 2
    assert [found.segmentation is None for found in image.objects] == [False, True, False]
    assert segmentation_to_mask(image.objects[2].segmentation, 64, 96).sum() == pytest.approx(math.pi * 100, rel=0.02)
    assert source.has_masks


def test_shapes_of_a_group_are_one_object(tmp_path: Path) -> None:
    other = [[60, 20], [80, 20], [80, 50]]
    shapes = [labelme_shape(group_id=1), labelme_shape(group_id=1, points=other), labelme_shape(group_id=2)]
    _, (image,) = labelme(write_labelme(tmp_path, *shapes))
    assert [len(found.segmentation) for found in image.objects] == [2, 1]
    assert image.objects[0].box_xyxy == (10, 20, 80, 50)


@pytest.mark.parametrize("kind", ["point", "line", "linestrip", "mask"])
def test_what_is_no_region_is_a_rejected_object(kind: str, tmp_path: Path) -> None:
    source, (image,) = labelme(write_labelme(tmp_path, labelme_shape(), labelme_shape(shape_type=kind)))
    assert len(image.objects) == 1
    (fate,) = source.fates
    assert (fate.reason, fate.kind) == ("not_a_region", "object")
    assert "a.json: shapes[1]" in fate.detail


@pytest.mark.parametrize("name", ["..\\images\\a.jpg", "/home/me/a.jpg", "a.jpg"])
def test_image_of_another_machine(name: str, tmp_path: Path) -> None:
    _, (image,) = labelme(write_labelme(tmp_path, labelme_shape(), imagePath=name))
    assert (image.file, image.listed_as) == ("a.jpg", None if name == "a.jpg" else name)


@pytest.mark.parametrize(
    ("shape", "changes", "says"),
    [
        pytest.param(
            {"points": [[1, "x"], [2, 3]]}, {}, "shapes[0].points[0][1] is 'x': text, expected a number", id="word"
        ),
        pytest.param(
            {"points": [[1, 2, 3]]}, {}, "shapes[0].points[0] is [1, 2, 3]: list, expected [x, y]", id="three"
        ),
        pytest.param({"points": None}, {}, "shapes[0].points is None: null, expected a list", id="no_points"),
        pytest.param({"label": 7}, {}, "shapes[0].label is 7: int, expected a text", id="label"),
        pytest.param({}, {"imageHeight": "tall"}, "imageHeight is 'tall'", id="size"),
        pytest.param({}, {"imagePath": 5}, "imagePath is 5", id="image"),
        pytest.param({}, {"imagePath": "gone.jpg"}, "none of the 1 images is below", id="no_image"),
        pytest.param({}, {"shapes": ["a"]}, "shapes[0] is str, expected an object", id="shape"),
        pytest.param({}, {"shapes": {}}, "not labelme", id="shapes"),
        pytest.param({}, {"shapes": []}, "no labelled shapes in 1 images", id="nothing"),
    ],
)
def test_labelme_says_what_is_wrong(shape: Any, changes: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        labelme(write_labelme(tmp_path, labelme_shape(**shape), **changes))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_rectangles_alone_are_a_set_without_masks(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    as_labelme(tmp_path / "raw", kind="rectangle")
    assert not labelme(tmp_path / "raw")[0].has_masks


def via(folder: Path, tree: Any = None) -> tuple[Source, list[SourceImage]]:
    if tree is not None:
        write_pictures(folder)
        (folder / "via.json").write_text(json.dumps(tree))
    source = read_via(folder, annotations=None, images=None)
    return source, list(source.images)


def via_entry(*regions: Any, name: str = "0.jpg") -> dict[str, Any]:
    return {"filename": name, "size": 1, "regions": list(regions)}


def via_outline(attributes: Any = None, **outline: Any) -> dict[str, Any]:
    return {"shape_attributes": outline, "region_attributes": {"kind": "nut"} if attributes is None else attributes}


def test_via_shapes(tmp_path: Path) -> None:
    regions = [
        via_region(1),
        via_outline(name="rect", x=10, y=20, width=30, height=30),
        via_outline(name="circle", cx=30, cy=30, r=10),
        via_outline(name="ellipse", cx=40, cy=30, rx=20, ry=5, theta=math.pi / 2),
        via_outline(name="point", cx=1, cy=1),
        via_outline(name="polyline", all_points_x=[1, 2, 3], all_points_y=[1, 2, 3]),
    ]
    source, (image,) = via(tmp_path, {"0.jpg1": via_entry(*regions)})
    assert [found.box_xyxy for found in image.objects[:2]] == [(10, 20, 40, 50)] * 2
    assert image.objects[2].box_xyxy == pytest.approx((20, 20, 40, 40))
    assert image.objects[3].box_xyxy == pytest.approx((35, 10, 45, 50))
    assert [fate.reason for fate in source.fates] == ["not_a_region"] * 2


RECT: dict[str, Any] = {"name": "rect", "x": 1, "y": 1, "width": 9, "height": 9}


def projects() -> dict[str, Any]:
    plain = {"0.jpg1": via_entry(via_region(1))}
    return {
        "annotations": plain,
        "project": {"_via_settings": {}, "_via_img_metadata": plain, "_via_attributes": {}},
        "version_1": {"0.jpg1": {"filename": "0.jpg", "size": 1, "regions": {"0": via_region(1)}}},
        "check_boxes": {"0.jpg1": via_entry(via_outline({"kind": {"nut": True, "fig": False}}, **RECT))},
        "several_attributes": {"0.jpg1": via_entry(via_outline({"Class": "nut", "color": "red"}, **RECT))},
    }


@pytest.mark.parametrize("kind", projects())
def test_via_files(kind: str, tmp_path: Path) -> None:
    source, (image,) = via(tmp_path, projects()[kind])
    assert source.labels == {1: "nut"}
    assert len(image.objects) == 1


def test_via_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        as_via(tmp_path / split)
    files: dict[Any, str] = {split: f"{split}/via_region_data.json" for split in ("train", "val")}
    images = list(read_via(tmp_path, annotations=files, images=None).images)
    assert [image.split for image in images] == ["train"] * NUM + ["val"] * NUM
    assert {image.file for image in images} == {
        f"{split}/{index}.jpg" for split in ("train", "val") for index in range(NUM)
    }


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        pytest.param(
            {"a": via_entry(via_outline({}, **RECT))}, "no region attribute holds the class (found: none", id="none"
        ),
        pytest.param(
            {"a": via_entry(via_outline({"color": "red", "shape": "x"}, **RECT))},
            "(found: color, shape; expected",
            id="which",
        ),
        pytest.param(
            {"a": via_entry(via_outline(**RECT | {"x": "?"}))}, "regions[0].shape_attributes.x is '?'", id="word"
        ),
        pytest.param({"a": via_entry(via_outline(name="rect", x=1))}, "shape_attributes.y is None: null", id="missing"),
        pytest.param(
            {"a": via_entry(via_outline(name="polygon"))}, "shape_attributes.all_points_x is None", id="points"
        ),
        pytest.param(
            {"a": {"filename": "0.jpg"}, "regions": 1}, "'a': expected an object with filename and regions", id="entry"
        ),
        pytest.param(
            {"a": via_entry({"region_attributes": {"kind": "nut"}, "shape_attributes": 1})},
            "shape_attributes is 1",
            id="shape",
        ),
        pytest.param(
            {"a": via_entry(via_outline(**RECT), name="gone.jpg")}, "none of the 1 images is below", id="no_image"
        ),
    ],
)
def test_via_says_what_is_wrong(tree: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        via(tmp_path, tree)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
