"""The Object Detection API's records: keys, masks, classes by number and text, and one clear line for what is wrong."""

import os
import shutil
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_builder import coco_annotation, coco_tree, encode, picture, prepare_params, write_coco
from record_builder import BOX, record_features, to_example, write_record_set, write_records

from stages.core.base.errors import UserError
from stages.core.datasets.prepare import prepare_data
from stages.core.datasets.prepared import read_labels, read_split
from stages.core.datasets.samples import Source, SourceImage
from stages.core.datasets.tfrecord import read_tfrecord
from stages.core.masks.segmentations import mask_to_png, segmentation_to_mask

pytestmark = pytest.mark.slow


def read(folder: Path, *, annotations: Any = None, label_map: str | None = None) -> tuple[Source, list[SourceImage]]:
    scratch = folder.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    source = read_tfrecord(folder, scratch, annotations=annotations, label_map=label_map)
    return source, list(source.images)


@pytest.mark.parametrize("packed", [False, True])
def test_images_boxes_and_classes(packed: bool, tmp_path: Path) -> None:
    examples = [to_example(record_features(number)) for number in range(3)]
    write_records(tmp_path / "raw" / "a.record", examples, packed=packed)
    source, images = read(tmp_path / "raw")
    assert source.labels == {1: "nut", 2: "fig"}
    assert [(image.file, image.size, image.split) for image in images] == [
        (f"{number}.jpg", (64, 96), None) for number in range(3)
    ]
    assert (images[0].folder / "0.jpg").read_bytes() == encode(picture(0))
    found = images[1].objects[0]
    assert found.category_id == 2
    assert found.box_xyxy == pytest.approx((BOX[0] * 96, BOX[1] * 64, BOX[2] * 96, BOX[3] * 64), abs=1e-4)


def test_splits_and_equal_file_names(tmp_path: Path) -> None:
    for name in ("train-00000-of-00002", "train-00001-of-00002", "val.record"):
        write_records(tmp_path / "raw" / name, [to_example(record_features(0)), to_example(record_features(1))])
    _, images = read(tmp_path / "raw", annotations={"train": "train@2", "val": "val.record"})
    assert [image.split for image in images] == ["train"] * 4 + ["val"] * 2
    assert len({image.file for image in images}) == 6


FLAGS = [
    ({}, (False, False, False)),
    ({"object__is_crowd": [1]}, (True, False, False)),
    ({"object__group_of": [1]}, (True, False, False)),
    ({"object__difficult": [1]}, (False, True, False)),
    ({"object__is_crowd": [1], "object__difficult": [1]}, (False, True, False)),
    ({"object__truncated": [1]}, (False, False, True)),
]


@pytest.mark.parametrize(("values", "flags"), FLAGS)
def test_flags_and_area(values: dict[str, Any], flags: tuple[bool, ...], tmp_path: Path) -> None:
    _, images = read(write_record_set(tmp_path / "raw", 2, object__area=[77.0], **values))
    found = images[0].objects[0]
    assert (found.is_crowd, found.is_difficult, found.is_truncated) == flags
    assert found.area == 77.0


@pytest.mark.parametrize("kind", ["png", "png_255", "numerical"])
def test_masks(kind: str, tmp_path: Path) -> None:
    mask = np.zeros((64, 96), np.bool_)
    mask[10:20, 30:50] = True
    value: Any = mask.astype(np.float32).ravel().tolist()
    if kind == "png":
        value = mask_to_png(mask)
    elif kind == "png_255":
        value = encode(mask.astype(np.uint8) * 255, "PNG")
    source, images = read(write_record_set(tmp_path / "raw", 2, object__mask=value))
    assert source.has_masks
    assert np.array_equal(segmentation_to_mask(images[1].objects[0].segmentation, 64, 96), mask)


@pytest.mark.parametrize(
    ("changes", "label_map", "labels"),
    [
        pytest.param({"object__class__label": None}, None, {1: "fig", 2: "nut"}, id="text_alone"),
        pytest.param({}, None, {1: "nut", 2: "fig"}, id="both"),
        pytest.param(
            {"object__class__text": None}, "item{id:1 name:'b'} item{id:2 name:'a'}", {1: "b", 2: "a"}, id="map"
        ),
        pytest.param(
            {"object__class__label": None},
            "item{id:9 name:'nut'} item{id:4 name:'fig' display_name:'Fig'}",
            {1: "Fig", 2: "nut"},
            id="text_and_map",
        ),
    ],
)
def test_classes(changes: dict[str, Any], label_map: str | None, labels: dict[int, str], tmp_path: Path) -> None:
    write_record_set(tmp_path / "raw", 2, **changes)
    if label_map:
        (tmp_path / "raw" / "map.pbtxt").write_text(label_map)
    source, images = read(tmp_path / "raw")
    assert source.labels == labels
    assert [labels[image.objects[0].category_id].lower() for image in images] == (
        ["b", "a"] if "b" in labels.values() else ["nut", "fig"]
    )


def test_names_without_suffix_and_without_name(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {"filename": None, "source_id": b"17", "format": b"png", "encoded": encode(picture(), "PNG")},
        {"filename": b"..\\other machine\\x?.jpg"},
        {"filename": None, "source_id": None},
    ]
    examples = [to_example(record_features(index, **change)) for index, change in enumerate(changes)]
    write_records(tmp_path / "raw" / "a.record", examples)
    assert [image.file for image in read(tmp_path / "raw")[1]] == ["17.png", "x_.jpg", "a_2.jpg"]


def test_size_is_read_from_the_image_where_the_record_has_none(tmp_path: Path) -> None:
    _, images = read(write_record_set(tmp_path / "raw", 2, height=None, width=None))
    assert images[0].size == (64, 96)


@dataclass(frozen=True, kw_only=True)
class BadRecord:
    """One record among twelve good ones that is a rejected image, and what the report says."""

    id: str
    changes: dict[str, Any] = field(default_factory=dict)
    data: bytes | None = None
    says: str


BAD_RECORDS = [
    BadRecord(id="no_image", changes={"encoded": None}, says="no image/encoded (keys: image/filename,"),
    BadRecord(id="no_example", data=b"\xff\xff\xff", says="no tf.train.Example"),
    BadRecord(
        id="other_type", changes={"object__class__label": [1.0]}, says="class/label is a float_list, expected a int64"
    ),
    BadRecord(id="label_missing", changes={"object__class__label": [1, 2]}, says="class/label has 2 values"),
    BadRecord(id="corner_missing", changes={"object__bbox__xmax": []}, says="xmin 1, ymin 1, xmax 0, ymax 1"),
    BadRecord(id="no_utf8", changes={"object__class__text": [b"\xff"]}, says="class/text is no UTF-8"),
    BadRecord(id="no_flag", changes={"object__is_crowd": [2]}, says="is_crowd is 2: int, expected 0 or 1"),
    BadRecord(id="mask_missing", changes={"object__mask": [b"a", b"b"]}, says="image/object/mask has 2 values"),
    BadRecord(id="mask_size", changes={"object__mask": [1.0, 0.0]}, says="2 values, expected 1 masks of 96x64"),
]


@pytest.mark.parametrize("case", BAD_RECORDS, ids=attrgetter("id"))
def test_a_bad_record_is_one_rejected_image(case: BadRecord, tmp_path: Path) -> None:
    examples = [to_example(record_features(number)) for number in range(12)]
    examples[3] = to_example(record_features(3, **case.changes)) if case.data is None else case.data
    write_records(tmp_path / "raw" / "a.record", examples)
    source, images = read(tmp_path / "raw")
    assert len(images) == 11
    (fate,) = source.fates
    assert (fate.file, fate.kind, fate.action, fate.reason) == ("a.record", "image", "rejected", "bad_record")
    assert fate.detail.startswith("record 3 (byte ")
    assert case.says in fate.detail


def test_a_damaged_record_is_counted_and_the_rest_kept(tmp_path: Path) -> None:
    path = write_record_set(tmp_path / "raw", 30) / "a.record"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    report = prepare_data(prepare_params("tfrecord"), folder=tmp_path / "raw", out_dir=tmp_path / "out")
    assert (report.images_found, report.images_kept, report.reasons) == (30, 29, {"bad_record": 1})
    assert report.fates[0].detail == "record 0 (byte 0): its bytes do not fit their checksum"


def test_object_without_class_is_rejected(tmp_path: Path) -> None:
    examples = [to_example(record_features(number)) for number in range(2)]
    examples.append(to_example(record_features(2, object__class__text=[b""], object__class__label=[0])))
    write_records(tmp_path / "raw" / "a.record", examples)
    source, images = read(tmp_path / "raw")
    assert [(fate.reason, fate.kind) for fate in source.fates] == [("no_class", "object")]
    assert images[2].objects == ()


@dataclass(frozen=True, kw_only=True)
class BadSet:
    """A set that is refused as a whole, and the words of the line."""

    id: str
    records: dict[str, Any] = field(default_factory=dict)
    label_map: str | None = None
    other: dict[str, Any] | None = None
    """Of one more record."""
    says: str


NO_OBJECTS: dict[str, Any] = {
    f"object__{key}": []
    for key in ("bbox__xmin", "bbox__ymin", "bbox__xmax", "bbox__ymax", "class__text", "class__label")
}
BAD_SETS = [
    BadSet(id="number_alone", records={"object__class__text": None}, says="class/label 1 has no name"),
    BadSet(id="label_not_in_map", label_map="item{id:1 name:'nut'}", says="record 1 (byte"),
    BadSet(id="label_not_in_map_named", label_map="item{id:1 name:'nut'}", says="class/label 2 ('fig') is not in"),
    BadSet(
        id="text_not_in_map",
        records={"object__class__label": None},
        label_map="item{id:1 name:'nut'}",
        says="class/text 'fig' is not in",
    ),
    BadSet(
        id="map_contradicts",
        label_map="item{id:1 name:'fig'} item{id:2 name:'nut'}",
        says="class/label 1 is 'fig' in",
    ),
    BadSet(
        id="two_names_for_an_id",
        label_map="item{id:1 name:'nut'}\nitem{id:1 name:'fig'}",
        says="line 2: id 1 is there twice",
    ),
    BadSet(
        id="text_for_two_ids",
        label_map="item{id:1 name:'nut' display_name:'a'} item{id:2 name:'a' display_name:'fig'}",
        says="'a' stands for the ids 1 and 2",
    ),
    BadSet(
        id="records_contradict",
        other={"object__class__text": [b"fig"]},
        says="class/label 1 is 'fig', other records say",
    ),
    BadSet(id="pixels", records={"object__bbox__xmax": [48.0], "object__bbox__ymax": [40.0]}, says="pixels?"),
    BadSet(id="no_objects", records=NO_OBJECTS, says="no objects in 6 records"),
    BadSet(
        id="nothing_usable",
        records={"encoded": None},
        says="no records that can be used; 6 were rejected, first: a.record",
    ),
]


@pytest.mark.parametrize("case", BAD_SETS, ids=attrgetter("id"))
def test_a_bad_set_is_one_line(case: BadSet, tmp_path: Path) -> None:
    examples = [to_example(record_features(number, **case.records)) for number in range(6)]
    if case.other is not None:
        examples.append(to_example(record_features(6, **case.other)))
    write_records(tmp_path / "raw" / "a.record", examples)
    if case.label_map:
        (tmp_path / "raw" / "map.pbtxt").write_text(case.label_map)
    with pytest.raises(UserError) as error:
        read(tmp_path / "raw")
    assert case.says in str(error.value)
    assert "\n" not in str(error.value)


def test_sequence_examples_are_named(tmp_path: Path) -> None:
    import tensorflow as tf

    frames = tf.train.FeatureList(feature=[tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x"]))])
    lists = tf.train.FeatureLists(feature_list={"image/encoded": frames})
    data = tf.train.SequenceExample(feature_lists=lists).SerializeToString()
    write_records(tmp_path / "raw" / "a.record", [data])
    with pytest.raises(UserError, match=r"a\.record: record 0 \(byte 0\): a tf\.train\.SequenceExample"):
        read(tmp_path / "raw")


@pytest.mark.parametrize("masks", [True, False])
def test_what_prepare_writes_comes_back(masks: bool, tmp_path: Path) -> None:
    changes: dict[str, Any] = {} if masks else {"segmentation": None}
    annotations = [coco_annotation(id=i, image_id=i, category_id=i % 2, **changes) for i in range(6)]
    annotations[2]["ignore"] = 1
    annotations.append(coco_annotation(id=9, image_id=1, iscrowd=1, bbox=[0, 0, 8, 8], **changes))
    write_coco(tmp_path / "raw", coco_tree(annotations=annotations))
    params = prepare_params("coco", split={"val": 0.4})
    first = prepare_data(params, folder=tmp_path / "raw", out_dir=tmp_path / "out")
    splits = {split: f"{split}/*.tfrecord" for split in ("train", "val")}
    again = prepare_params("tfrecord", annotations=splits)
    second = prepare_data(again, folder=tmp_path / "out", out_dir=tmp_path / "again")

    assert second.splits["train"].objects_per_class == first.splits["train"].objects_per_class
    assert {name: split.num_ignored for name, split in second.splits.items()} == {
        name: split.num_ignored for name, split in first.splits.items()
    }
    assert read_labels(tmp_path / "again" / "labels.json") == read_labels(tmp_path / "out" / "labels.json")
    for split in ("train", "val"):
        trees = [
            {Path(entry["file_name"]).name: entry for entry in tree["images"]} | {"all": tree["annotations"]}
            for tree in (load(tmp_path / name / split) for name in ("out", "again"))
        ]
        assert set(trees[0]) == set(trees[1])
        for was, now in zip(*(by_image(load(tmp_path / name / split)) for name in ("out", "again")), strict=True):
            assert now["bbox"] == pytest.approx(was["bbox"], abs=1e-3)
            assert now["area"] == pytest.approx(was["area"])
            assert {key: now.get(key) for key in ("iscrowd", "difficult", "segmentation", "category_id")} == {
                key: was.get(key) for key in ("iscrowd", "difficult", "segmentation", "category_id")
            }


def load(folder: Path) -> dict[str, Any]:
    import json

    tree: dict[str, Any] = json.loads(read_split(folder).annotations.read_text())
    return tree


def by_image(tree: dict[str, Any]) -> list[dict[str, Any]]:
    names = {image["id"]: image["file_name"] for image in tree["images"]}
    return sorted(tree["annotations"], key=lambda entry: (names[entry["image_id"]], entry["bbox"]))


def test_our_own_framing_is_tensorflows(tmp_path: Path) -> None:
    import tensorflow as tf

    path = write_record_set(tmp_path / "raw", 3) / "a.record"
    assert len(list(tf.data.TFRecordDataset(str(path)))) == 3
    with tf.io.TFRecordWriter(str(tmp_path / "raw" / "b.record"), options="GZIP") as writer:
        writer.write(to_example(record_features(7)))
    assert [image.file for image in read(tmp_path / "raw")[1]] == ["0.jpg", "1.jpg", "2.jpg", "7.jpg"]


@pytest.mark.skipif("DETECTION_SAMPLES" not in os.environ, reason="DETECTION_SAMPLES is not set")
def test_pets(tmp_path: Path) -> None:
    samples = Path(os.environ["DETECTION_SAMPLES"]) / "tfod"
    (tmp_path / "raw").mkdir()
    shutil.copy(samples / "records" / "pets_examples.record", tmp_path / "raw")
    shutil.copy(samples / "label_maps" / "pet_label_map.pbtxt", tmp_path / "raw")
    report = prepare_data(prepare_params("tfrecord"), folder=tmp_path / "raw", out_dir=tmp_path / "out")
    assert (report.images_kept, report.objects_kept, report.reasons) == (10, 10, {})
    labels = read_labels(tmp_path / "out" / "labels.json")
    assert (len(labels), labels[11], labels[33]) == (37, "chihuahua", "Siamese")
