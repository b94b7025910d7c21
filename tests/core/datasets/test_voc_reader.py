"""Pascal VOC folders: split lists, odd file names, flags; broken XML is counted, hostile XML refused."""

import os
from pathlib import Path

import pytest
from dataset_builder import SQUARE, encode, picture, voc_object, voc_xml, write_coco, write_voc

from stages.core.base.errors import DataError
from stages.core.datasets.samples import Source, SourceImage
from stages.core.datasets.voc import read_voc


def read(folder: Path) -> tuple[Source, list[SourceImage]]:
    source = read_voc(folder, images=None)
    return source, list(source.images)


def test_without_lists_every_xml_in_name_order(tmp_path: Path) -> None:
    source, images = read(write_voc(tmp_path))
    assert source.labels == {1: "fig", 2: "nut"}
    assert not source.has_masks
    assert [(image.file, image.split) for image in images] == [(f"{index}.jpg", None) for index in range(6)]
    assert images[0].size == (64, 96)
    assert images[0].objects[0].box_xyxy == SQUARE
    assert images[0].objects[0].category_id == 2


def test_split_lists(tmp_path: Path) -> None:
    lists = {"train": ["3", "0"], "val": ["1"], "test": ["2"], "trainval": ["3", "0", "1", "4"]}
    source, images = read(write_voc(tmp_path, lists=lists))
    assert [(image.file, image.split) for image in images] == [
        ("3.jpg", "train"),
        ("0.jpg", "train"),
        ("1.jpg", "val"),
        ("2.jpg", "test"),
        ("4.jpg", None),
    ]
    assert [(fate.file, fate.reason) for fate in source.fates] == [("5.jpg", "not_listed")]


def test_list_with_a_second_column_and_an_image_without_xml(tmp_path: Path) -> None:
    source, images = read(write_voc(tmp_path, lists={"train": ["0  1", "1 -1", "77"], "val": ["2"]}))
    assert [image.file for image in images] == ["0.jpg", "1.jpg", "2.jpg"]
    assert ("77", "no_annotation") in [(fate.file, fate.reason) for fate in source.fates]


LISTS = [
    pytest.param("0\n1\n2\n3\n".encode("utf-16"), id="utf_16"),
    pytest.param("0\r\n1\r\n2\r\n3\r\n".encode("utf-8-sig"), id="byte_order_mark"),
    pytest.param(b"0.jpg\n1.JPG\n2.xml\n3\n", id="suffixes"),
    pytest.param(b"JPEGImages/0.jpg\n/home/me/1.jpg\nC:\\set\\2.jpg\n3\n", id="paths"),
    pytest.param(b"0 1\n1  1\n2\t-1\n 3 0 \n\n0\n", id="columns_and_blanks"),
]


@pytest.mark.parametrize("data", LISTS)
def test_lists_as_tools_write_them(data: bytes, tmp_path: Path) -> None:
    write_voc(tmp_path, num_images=4)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_bytes(data)
    source, images = read(tmp_path)
    assert [(image.file, image.split) for image in images] == [(f"{index}.jpg", "train") for index in range(4)]
    assert not source.fates


def test_names_with_blanks_and_dots_in_lists(tmp_path: Path) -> None:
    names = ["IMG (0)", "IMG (1)", "a 1", "v1.2"]
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for name in names:
        (tmp_path / f"{name}.jpg").write_bytes(encode(picture()))
        (tmp_path / f"{name}.xml").write_text(voc_xml(f"{name}.jpg", voc_object()))
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("IMG (0) 1\nIMG (1)\na 1\nv1.2\n")
    assert [image.file for image in read(tmp_path)[1]] == [f"{name}.jpg" for name in names]


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_bytes(b"0\n\xff\xff\n")
    with pytest.raises(DataError, match=r"val\.txt: line 2: byte 2 is not UTF-8"):
        read(tmp_path)


@pytest.mark.parametrize("flag", ["2", "maybe"])
def test_a_flag_that_is_none(flag: str, tmp_path: Path) -> None:
    write_voc(tmp_path, num_images=2)
    (tmp_path / "Annotations" / "0.xml").write_text(voc_xml("0.jpg", voc_object(difficult=flag)))
    with pytest.raises(DataError, match=rf"0\.xml: object 1: difficult is '{flag}': text, expected 0 or 1"):
        read(tmp_path)


def mask() -> bytes:
    return encode(picture()[..., 0], "PNG")


def test_filename_tells_picture_and_mask_apart(tmp_path: Path) -> None:
    for index in range(2):
        (tmp_path / f"{index}.jpg").write_bytes(encode(picture()))
        (tmp_path / f"{index}.png").write_bytes(mask())
        (tmp_path / f"{index}.xml").write_text(voc_xml(("0.jpg", "D:\\set\\1.JPG")[index], voc_object()))
    source, images = read(tmp_path)
    assert [image.file for image in images] == ["0.jpg", "1.jpg"]
    assert not source.fates


@pytest.mark.parametrize("listed", ["", "0", "other.jpg"])
def test_several_candidates_that_filename_does_not_tell_apart(listed: str, tmp_path: Path) -> None:
    write_voc(tmp_path, num_images=2)
    (tmp_path / "JPEGImages" / "0.png").write_bytes(mask())
    (tmp_path / "Annotations" / "0.xml").write_text(voc_xml(listed, voc_object()))
    refusal = read(tmp_path)[1][0].refusal
    assert refusal is not None
    assert refusal.reason == "several_images"
    assert "0.jpg, JPEGImages/0.png: which is the picture?" in refusal.detail


def test_image_without_xml_is_counted(tmp_path: Path) -> None:
    write_voc(tmp_path)
    (tmp_path / "JPEGImages" / "extra.jpg").write_bytes(encode(picture(9)))
    assert [(fate.file, fate.reason) for fate in read(tmp_path)[0].fates] == [("extra.jpg", "no_annotation")]


def test_image_is_found_by_stem_then_by_filename(tmp_path: Path) -> None:
    write_voc(tmp_path, num_images=2)
    (tmp_path / "Annotations" / "0.xml").write_text(voc_xml("copied_from_another.jpg", voc_object()))
    (tmp_path / "Annotations" / "1.xml").rename(tmp_path / "Annotations" / "renamed.xml")
    assert [image.file for image in read(tmp_path)[1]] == ["0.jpg", "1.jpg"]


def test_flat_folder(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(encode(picture(number)))
        (tmp_path / f"{number}.xml").write_text(voc_xml(f"{number}.jpg", voc_object()))
    assert [image.folder for image in read(tmp_path)[1]] == [tmp_path, tmp_path]


def test_flags(tmp_path: Path) -> None:
    write_voc(tmp_path, num_images=2)
    xml = voc_xml("0.jpg", voc_object(difficult=1), voc_object("fig", truncated=1, difficult=0))
    (tmp_path / "Annotations" / "0.xml").write_text(xml)
    kept = read(tmp_path)[1][0].objects
    assert [(found.is_difficult, found.is_truncated) for found in kept] == [(True, False), (False, True)]


def test_parts_of_an_object_are_not_objects(tmp_path: Path) -> None:
    write_voc(tmp_path, num_images=2)
    part = "<part><name>head</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>1</xmax><ymax>1</ymax></bndbox></part>"
    xml = voc_xml("0.jpg", voc_object().replace("</object>", f"{part}</object>"))
    (tmp_path / "Annotations" / "0.xml").write_text(xml)
    source, images = read(tmp_path)
    assert source.labels == {1: "fig", 2: "nut"}
    assert [found.box_xyxy for found in images[0].objects] == [SQUARE]


@pytest.mark.parametrize("box", [("", "", "", ""), ("a", 1, 2, 3)])
def test_unreadable_box_is_left_to_checking(box: tuple[object, ...], tmp_path: Path) -> None:
    write_voc(tmp_path, num_images=2)
    (tmp_path / "Annotations" / "0.xml").write_text(voc_xml("0.jpg", voc_object(box=box)))
    assert read(tmp_path)[1][0].objects[0].box_xyxy is None


@pytest.mark.parametrize("size", ["0", "inf"])
def test_a_size_that_cannot_be_is_left_to_the_file(size: str, tmp_path: Path) -> None:
    write_voc(tmp_path, num_images=2)
    xml = voc_xml("0.jpg", voc_object(), height=7777, width=7777).replace("7777", size)
    (tmp_path / "Annotations" / "0.xml").write_text(xml)
    assert read(tmp_path)[1][0].size is None


HOSTILE = (
    '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]>'
    "<annotation><object><name>&y;</name></object></annotation>"
)
LEAK = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotation><filename>&x;</filename></annotation>'


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        pytest.param(HOSTILE, "3.xml: refused: EntitiesForbidden", id="entity_bomb"),
        pytest.param(LEAK, "3.xml: refused: EntitiesForbidden", id="external_entity"),
    ],
)
def test_hostile_xml_is_refused(xml: str, says: str, tmp_path: Path) -> None:
    write_voc(tmp_path)
    (tmp_path / "Annotations" / "3.xml").write_text(xml)
    with pytest.raises(DataError) as error:
        read(tmp_path)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("lists", [None, {"train": ["0", "3"], "val": ["1"]}], ids=["all", "listed"])
@pytest.mark.parametrize(
    ("xml", "says"),
    [
        pytest.param("<annotation><object>", "not readable as XML: no element found: line 1", id="cut"),
        pytest.param("", "not readable as XML", id="empty"),
        pytest.param('<?xml version="1.0" encoding="no-such"?><annotation/>', "not readable as XML", id="encoding"),
        pytest.param("<svg/>", "not VOC: the root element is <svg>, expected <annotation>", id="other_xml"),
    ],
)
def test_an_unreadable_xml_is_one_rejected_image(
    xml: str, says: str, lists: dict[str, list[str]] | None, tmp_path: Path
) -> None:
    write_voc(tmp_path, num_images=4, lists=lists)
    (tmp_path / "Annotations" / "3.xml").write_text(xml)
    source, images = read(tmp_path)
    assert "3.jpg" not in [image.file for image in images]
    (bad,) = [fate for fate in source.fates if fate.reason != "not_listed"]
    assert (bad.file, bad.kind, bad.action, bad.reason) == ("3.xml", "image", "rejected", "bad_annotation")
    assert says in bad.detail


def test_only_unreadable_xml_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    write_voc(tmp_path, num_images=2)
    for path in (tmp_path / "Annotations").iterdir():
        path.write_text("<svg/>")
    with pytest.raises(DataError, match=r"in 0 XML files; 2 more are bad, first: 0\.xml: not VOC: .* <svg>"):
        read(tmp_path)


def test_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder \(prepare\.path\)"):
        read(tmp_path / "gone")
    with pytest.raises(DataError, match="it is empty"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"no VOC annotations .* is prepare\.source coco\?"):
        read(write_coco(tmp_path / "coco"))


def test_no_objects_at_all(tmp_path: Path) -> None:
    write_voc(tmp_path, num_images=2)
    for path in (tmp_path / "Annotations").iterdir():
        path.write_text(voc_xml(f"{path.stem}.jpg"))
    with pytest.raises(DataError, match="no annotated objects in 2 XML files"):
        read(tmp_path)


@pytest.mark.skipif("DETECTION_SAMPLES" not in os.environ, reason="DETECTION_SAMPLES is not set")
def test_blood_cells_with_their_official_lists() -> None:
    source, images = read(Path(os.environ["DETECTION_SAMPLES"]) / "bccd" / "BCCD")
    counts = [sum(image.split == split for image in images) for split in ("train", "val", "test")]
    assert source.labels == {1: "Platelets", 2: "RBC", 3: "WBC"}
    assert counts == [205, 87, 72]
    assert sum(len(image.objects) for image in images) == 4888
    assert not source.fates
