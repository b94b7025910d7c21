"""Folders of VOC as people have them: where annotations and pictures are, and what ties one to the other."""

from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

import pytest
from dataset_builder import encode, picture, voc_object, voc_xml

from stages.core.datasets.voc import read_voc


@dataclass(frozen=True, kw_only=True)
class VocLayout:
    """Annotation files by path with their `<filename>`, pictures, and the pictures that are found, by annotation."""

    id: str
    xmls: dict[str, str]
    pictures: tuple[str, ...]
    found: tuple[str, ...]
    listed_as: tuple[str, ...] = ()
    """Names of those that were found by another name."""
    rejected: dict[str, str] = field(default_factory=dict)
    """Reason by file, of images that cannot be used or have no annotation."""
    images: str | None = None


LAYOUTS = [
    VocLayout(
        id="voc",
        xmls={"Annotations/a.xml": "a.jpg", "Annotations/b.xml": "b.jpg"},
        pictures=("JPEGImages/a.jpg", "JPEGImages/b.jpg", "SegmentationClass/a.png", "SegmentationObject/a.png"),
        found=("JPEGImages/a.jpg", "JPEGImages/b.jpg"),
    ),
    VocLayout(
        id="small_letters", xmls={"annotations/a.xml": "a.jpg"}, pictures=("images/a.jpg",), found=("images/a.jpg",)
    ),
    VocLayout(id="annots", xmls={"annots/a.xml": "a.jpg"}, pictures=("images/a.jpg",), found=("images/a.jpg",)),
    VocLayout(id="xmls", xmls={"Annotations/xmls/a.xml": "a.jpg"}, pictures=("images/a.jpg",), found=("images/a.jpg",)),
    VocLayout(
        id="capitals", xmls={"Annotations/a.XML": "a.JPG"}, pictures=("JPEGImages/a.JPG",), found=("JPEGImages/a.JPG",)
    ),
    VocLayout(
        id="deep",
        xmls={"Annotations/a.xml": "a.jpg"},
        pictures=("photos/2024/5/a.jpg",),
        found=("photos/2024/5/a.jpg",),
    ),
    VocLayout(id="flat", xmls={"a.xml": "a.jpg"}, pictures=("a.jpg",), found=("a.jpg",)),
    VocLayout(
        id="split_folders",
        xmls={"train/a.xml": "a.jpg", "valid/a.xml": "a.jpg"},
        pictures=("train/a.jpg", "valid/a.jpg"),
        found=("train/a.jpg", "valid/a.jpg"),
    ),
    VocLayout(
        id="years",
        xmls={"VOC2007/Annotations/a.xml": "a.jpg", "VOC2012/Annotations/a.xml": "a.jpg"},
        pictures=("VOC2007/JPEGImages/a.jpg", "VOC2012/JPEGImages/a.jpg"),
        found=("VOC2007/JPEGImages/a.jpg", "VOC2012/JPEGImages/a.jpg"),
    ),
    VocLayout(
        id="another_stem",
        xmls={"Annotations/1.xml": "a.jpg"},
        pictures=("JPEGImages/a.jpg",),
        found=("JPEGImages/a.jpg",),
    ),
    VocLayout(
        id="another_machine",
        xmls={"Annotations/1.xml": "D:\\set\\a.jpg"},
        pictures=("JPEGImages/a.jpg",),
        found=("JPEGImages/a.jpg",),
        listed_as=("D:\\set\\a.jpg",),
    ),
    VocLayout(
        id="no_extension",
        xmls={"Annotations/1.xml": "a"},
        pictures=("JPEGImages/a.png",),
        found=("JPEGImages/a.png",),
        listed_as=("a",),
    ),
    VocLayout(
        id="no_filename", xmls={"Annotations/a.xml": ""}, pictures=("JPEGImages/a.png",), found=("JPEGImages/a.png",)
    ),
    VocLayout(
        id="another_suffix",
        xmls={"Annotations/a.xml": "a.bmp"},
        pictures=("JPEGImages/a.png",),
        found=("JPEGImages/a.png",),
        listed_as=("a.bmp",),
    ),
    VocLayout(
        id="images_given",
        xmls={"Annotations/a.xml": "a.jpg"},
        pictures=("small/a.jpg", "large/a.jpg"),
        images="large",
        found=("large/a.jpg",),
    ),
    VocLayout(
        id="picture_missing",
        xmls={"Annotations/a.xml": "a.jpg", "Annotations/b.xml": "b.jpg"},
        pictures=("JPEGImages/a.jpg",),
        found=("JPEGImages/a.jpg",),
        rejected={"b.jpg": "missing_file"},
    ),
    VocLayout(
        id="two_for_one_picture",
        xmls={"Annotations/a.xml": "a.jpg", "Annotations/b.xml": "a.jpg"},
        pictures=("JPEGImages/a.jpg",),
        found=("JPEGImages/a.jpg",),
        rejected={"b.xml": "ambiguous_name"},
    ),
    VocLayout(
        id="two_of_that_name",
        xmls={"Annotations/1.xml": "a.jpg", "Annotations/b.xml": "b.jpg"},
        pictures=("x/a.jpg", "y/a.jpg", "x/b.jpg"),
        found=("x/b.jpg",),
        rejected={"a.jpg": "ambiguous_name", "x/a.jpg": "no_annotation", "y/a.jpg": "no_annotation"},
    ),
    VocLayout(
        id="pictures_without_annotation",
        xmls={"Annotations/a.xml": "a.jpg"},
        pictures=("JPEGImages/a.jpg", "JPEGImages/c.jpg"),
        found=("JPEGImages/a.jpg",),
        rejected={"c.jpg": "no_annotation"},
    ),
]


@pytest.mark.parametrize("case", LAYOUTS, ids=attrgetter("id"))
def test_layouts(case: VocLayout, tmp_path: Path) -> None:
    for number, name in enumerate(case.pictures):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encode(picture(number), "PNG" if name.endswith("png") else "JPEG"))
    for name, listed in case.xmls.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(voc_xml(listed, voc_object()))
    source = read_voc(tmp_path, images=case.images)
    images = list(source.images)
    found = [image for image in images if image.refusal is None]
    assert [(image.folder / image.file).relative_to(tmp_path).as_posix() for image in found] == list(case.found)
    assert tuple(image.listed_as for image in found if image.listed_as) == case.listed_as
    rejected = {image.file: image.refusal.reason for image in images if image.refusal}
    assert rejected | {fate.file: fate.reason for fate in source.fates} == case.rejected
    assert len(images) + len(source.fates) == len(case.found) + len(case.rejected)
