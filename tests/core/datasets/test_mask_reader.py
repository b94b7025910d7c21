"""Masks in PNG files: one for each object, or coded by value, and one clear line for what cannot be read."""

from pathlib import Path

import numpy as np
import pytest
from dataset_builder import encode, picture
from PIL import Image

from stages.core.base.errors import DataError
from stages.core.datasets.mask_files import read_masks
from stages.core.datasets.samples import Source, SourceImage
from stages.core.masks.segmentations import segmentation_to_mask

HEIGHT, WIDTH = 64, 96


def values(*spots: tuple[int, slice], kind: type = np.uint8) -> np.ndarray:
    """A mask with a value in some columns of its upper half."""
    pixels = np.zeros((HEIGHT, WIDTH), kind)
    for value, columns in spots:
        pixels[:32, columns] = value
    return pixels


def write_masks(folder: Path, masks: dict[str, np.ndarray | Image.Image], classes: str | None = None) -> Path:
    for stem in "ab":
        (folder / "images").mkdir(exist_ok=True)
        (folder / "images" / f"{stem}.jpg").write_bytes(encode(picture()))
    for name, pixels in masks.items():
        (folder / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "masks" / name).write_bytes(encode(pixels, "PNG"))
    if classes is not None:
        (folder / "classes.txt").write_text(classes)
    return folder


def read(folder: Path) -> tuple[Source, list[SourceImage]]:
    source = read_masks(folder, images=None)
    return source, list(source.images)


def columns_of(image: SourceImage) -> list[tuple[int, int, int]]:
    """(class, first column, last column) of each object."""
    found = []
    for item in image.objects:
        columns = np.flatnonzero(segmentation_to_mask(item.segmentation, HEIGHT, WIDTH).any(axis=0))
        found.append((item.category_id, int(columns[0]), int(columns[-1])))
    return found


def test_one_file_per_object(tmp_path: Path) -> None:
    masks: dict[str, np.ndarray | Image.Image] = {
        "a/nut_1.png": values((255, slice(0, 9))),
        "a/nut_2.png": values((1, slice(20, 29))),
        "a/big fig.png": values((1, slice(50, 59))),
    }
    source, images = read(write_masks(tmp_path, masks))
    assert source.labels == {1: "big fig", 2: "nut"}
    assert columns_of(images[0]) == [(1, 50, 58), (2, 0, 8), (2, 20, 28)]
    assert images[1].objects == ()
    assert source.notes == ("1 of 2 images have no mask: they have no objects",)


def test_values_are_objects_of_the_only_class(tmp_path: Path) -> None:
    mask = values((1, slice(0, 9)), (2, slice(9, 20)), (7, slice(30, 40)))
    source, images = read(write_masks(tmp_path, {"a.png": mask, "b.png": mask}, "nut\n"))
    assert source.labels == {1: "nut"}
    assert columns_of(images[0]) == [(1, 0, 8), (1, 9, 19), (1, 30, 39)]
    assert source.notes == ()


def test_values_are_class_and_object(tmp_path: Path) -> None:
    mask = Image.fromarray(values((1000, slice(0, 9)), (1001, slice(9, 20)), (2000, slice(30, 40)), kind=np.uint16))
    _, images = read(write_masks(tmp_path, {"a.png": mask}, "nut\nfig\n"))
    assert columns_of(images[0]) == [(1, 0, 8), (1, 9, 19), (2, 30, 39)]


@pytest.mark.parametrize("mode", ["L", "P"])
def test_values_are_classes_and_regions_objects(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(values((1, slice(0, 9)), (1, slice(20, 29)), (2, slice(9, 15))))
    if mode == "P":
        image.putpalette([value for index in range(256) for value in (index, 255 - index, 7)])
    source, images = read(write_masks(tmp_path, {"a.png": image}, "nut\nfig\n"))
    assert columns_of(images[0]) == [(1, 0, 8), (1, 20, 28), (2, 9, 14)]
    assert any("each connected region is an object" in note for note in source.notes)


def test_masks_of_no_image_are_counted(tmp_path: Path) -> None:
    source, _ = read(write_masks(tmp_path, {"a.png": values((1, slice(0, 9))), "gone.png": values()}, "nut\n"))
    assert [(fate.file, fate.reason) for fate in source.fates] == [("masks/gone.png", "unknown_image")]


@pytest.mark.parametrize(
    ("masks", "classes", "says"),
    [
        pytest.param(
            {"a.png": values((1, slice(0, 9)))}, None, "a.png: a coded mask needs classes.txt", id="no_classes"
        ),
        pytest.param(
            {"a.png": values((3, slice(0, 9)))}, "nut\nfig\n", "value 3: expected a class from 1 to 2", id="class"
        ),
        pytest.param({"a.png": picture()}, "nut\n", "a.png: colours, expected one channel", id="colours"),
        pytest.param({"gone.png": values()}, "nut\n", "none of 1 masks belongs to one of 2 images", id="no_image"),
        pytest.param({"a.png": values()}, "nut\n", "no objects in the masks of 2 images", id="empty"),
        pytest.param({"a.png": values()}, "nut\nnut\n", "classes.txt: a class is there twice", id="twice"),
        pytest.param({"a/fig_1.png": values((1, slice(0, 9)))}, "nut\n", "class 'fig' is not in", id="unknown"),
    ],
)
def test_says_what_is_wrong(
    masks: dict[str, np.ndarray | Image.Image], classes: str | None, says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as error:
        read(write_masks(tmp_path, masks, classes))
    assert says in str(error.value)


def test_damaged_masks(tmp_path: Path) -> None:
    write_masks(tmp_path, {"a.png": values((1, slice(0, 9)))}, "nut\n")
    (tmp_path / "masks" / "a.png").write_bytes(b"no PNG")
    with pytest.raises(DataError, match=r"a\.png: not readable as PNG"):
        read(tmp_path)


def test_two_pictures_of_one_stem(tmp_path: Path) -> None:
    write_masks(tmp_path, {"a.png": values((1, slice(0, 9)))}, "nut\n")
    (tmp_path / "images" / "a.png").write_bytes(encode(picture(), "PNG"))
    with pytest.raises(DataError, match=r"a\.jpg, a\.png: which one"):
        read(tmp_path)
