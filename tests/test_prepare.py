"""`prepare` from one end to the other: what comes out of dirt, of two formats, twice, and of input it must refuse."""

import json
import os
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from dataset_builder import (
    SQUARE,
    coco_annotation,
    coco_tree,
    encode,
    picture,
    prepare_params,
    voc_object,
    voc_xml,
    with_orientation,
    write_coco,
    write_voc,
)

from stages import prepare
from stages.core.base.errors import DataError, UserError
from stages.core.base.hashing import hash_file
from stages.core.datasets import workers
from stages.core.datasets.coco import read_coco
from stages.core.datasets.folder_hints import FORMATS
from stages.core.datasets.prepare import flatten_name, prepare_data
from stages.core.datasets.prepared import read_calibration, read_labels, read_prepare_report, read_split
from stages.core.datasets.readers import READERS
from stages.core.datasets.samples import Sample
from stages.core.params.steps import PrepareParams
from stages.core.results.preparation import PrepareReport
from stages.core.tfod.label_map import read_label_map
from stages.core.validating.class_results import measure_classes
from stages.core.validating.coco_ap import measure_ap
from stages.core.validating.coco_matching import compare_results

pytestmark = pytest.mark.slow

SMALL = {"num_train": 6, "num_val": 3, "num_test": 2, "size": 64}


def run(folder: Path, source: str = "coco", **changes: Any) -> PrepareReport:
    return prepare_data(prepare_params(source, **changes), folder=folder, out_dir=folder.parent / "prepared")


def tree_of(folder: Path, split: str) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((folder / split / "annotations.json").read_text())
    return tree


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose `prepare` ran on a few synthetic scenes."""
    root = tmp_path_factory.mktemp("project")
    tree = {"models": ["maskrcnn_tiny"], "schemes": ["int8"], "prepare": {"synthetic": SMALL, "calibration_images": 4}}
    (root / "params.yaml").write_text(yaml.safe_dump(tree))
    assert prepare.main(["--root", str(root)]) == 0
    return root


def test_layout(project: Path) -> None:
    prepared = project / "data" / "prepared"
    assert sorted(path.name for path in prepared.iterdir()) == [
        "calibration.json",
        "label_map.pbtxt",
        "labels.json",
        "report.json",
        "test",
        "train",
        "val",
    ]
    assert [path.name for path in (project / "data").iterdir()] == ["prepared"]
    assert read_labels(prepared / "labels.json") == {1: "circle", 2: "square", 3: "triangle"}
    assert read_label_map(prepared / "label_map.pbtxt") == read_labels(prepared / "labels.json")
    assert [len(read_split(prepared / split).images) for split in ("train", "val", "test")] == [6, 3, 2]
    assert [path.name for path in sorted((prepared / "val").glob("*.tfrecord"))] == [
        f"val-0000{index}-of-00003.tfrecord" for index in range(3)
    ]


def test_ids_are_unique_over_all_splits(project: Path) -> None:
    trees = [tree_of(project / "data" / "prepared", split) for split in ("train", "val", "test")]
    for kind in ("images", "annotations"):
        ids = [entry["id"] for tree in trees for entry in tree[kind]]
        assert ids == list(range(1, len(ids) + 1))
    assert all([entry["id"] for entry in tree["categories"]] == [1, 2, 3] for tree in trees)


def test_every_coco_tool_reads_it(project: Path) -> None:
    from pycocotools.coco import COCO

    coco = COCO(str(project / "data" / "prepared" / "val" / "annotations.json"))
    for annotation in coco.loadAnns(coco.getAnnIds()):
        x, y, width, height = annotation["bbox"]
        mask = coco.annToMask(annotation)
        assert mask[int(y) : int(y + height), int(x) : int(x + width)].sum() == mask.sum() == annotation["area"]


def test_calibration_list_is_drawn_from_train_and_hashed(project: Path) -> None:
    prepared = project / "data" / "prepared"
    paths = read_calibration(prepared / "calibration.json", limit=4)
    assert len(set(paths)) == 4
    assert all(path.parent == prepared / "train" / "images" for path in paths)


def test_report_ties_counts_to_hashes(project: Path) -> None:
    report = read_prepare_report(project / "data" / "prepared" / "report.json")
    assert (report.source, report.images_found, report.images_kept) == ("synthetic", 11, 11)
    assert {split: summary.num_images for split, summary in report.splits.items()} == {"train": 6, "val": 3, "test": 2}
    assert sum(summary.num_objects for summary in report.splits.values()) == report.objects_kept
    assert len({report.sha256, *(summary.sha256 for summary in report.splits.values())}) == 4


def test_same_input_same_bytes_and_another_seed_others(project: Path, tmp_path: Path) -> None:
    params = PrepareParams.model_validate({"synthetic": SMALL, "calibration_images": 4})
    prepare_data(params, folder=tmp_path, out_dir=tmp_path / "again")
    assert all_bytes(tmp_path / "again") == all_bytes(project / "data" / "prepared")
    other = prepare_data(params.model_copy(update={"seed": 1}), folder=tmp_path, out_dir=tmp_path / "other")
    assert other.sha256 != read_prepare_report(tmp_path / "again" / "report.json").sha256


def test_readers_are_the_sources_that_params_allow() -> None:
    annotation = PrepareParams.model_fields["source"].annotation
    known = list(get_args(annotation))
    known.remove("auto")
    assert list(READERS) == known
    assert list(FORMATS) == known[1:]


def test_voc_and_coco_of_one_picture_give_equal_samples(tmp_path: Path) -> None:
    boxes = {"nut": (10.0, 20.0, 40.0, 50.0), "fig": (0.0, 0.0, 96.0, 64.0)}
    write_voc(tmp_path / "voc" / "raw")
    annotations, number = [], 0
    for image in range(6):
        objects = [voc_object(name, box) for name, box in boxes.items()]
        (tmp_path / "voc" / "raw" / "Annotations" / f"{image}.xml").write_text(voc_xml(f"{image}.jpg", *objects))
        for name, (x_min, y_min, x_max, y_max) in boxes.items():
            bbox = [x_min, y_min, x_max - x_min, y_max - y_min]
            category = ("fig", "nut").index(name)
            annotations.append(
                coco_annotation(
                    id=number, image_id=image, category_id=category, bbox=bbox, area=None, segmentation=None
                )
            )
            number += 1
    categories = [{"id": 0, "name": "fig"}, {"id": 1, "name": "nut"}]
    write_coco(tmp_path / "coco" / "raw", coco_tree(annotations=annotations, categories=categories))

    from_voc = run(tmp_path / "voc" / "raw", "voc")
    from_coco = run(tmp_path / "coco" / "raw", "coco")

    assert from_voc.splits == from_coco.splits
    assert all_bytes(tmp_path / "voc" / "prepared" / "train") == all_bytes(tmp_path / "coco" / "prepared" / "train")


@dataclass(frozen=True, kw_only=True)
class Dirt:
    """One dirty thing in a set of 40 clean pictures, and what the report must say of it."""

    id: str
    reason: str
    file: bytes | None = None
    name: str = "0.jpg"
    image: dict[str, Any] = field(default_factory=dict)
    annotation: dict[str, Any] = field(default_factory=dict)
    kept: tuple[int, int] = (40, 40)
    """Images and objects."""
    stored_as: str = "0.jpg"


PLAIN = picture(0)
DIRT = [
    Dirt(id="truncated", file=encode(PLAIN)[:900], reason="truncated", kept=(39, 39)),
    Dirt(id="not_an_image", file=b"not found", reason="unreadable", kept=(39, 39)),
    Dirt(id="missing", file=b"", reason="missing_file", kept=(39, 39)),
    Dirt(id="path_traversal", name="../gone.jpg", reason="unsafe_name", kept=(39, 39)),
    Dirt(id="wrong_size", image={"height": 640, "width": 960}, reason="size_mismatch", kept=(39, 39)),
    Dirt(id="wrong_extension", file=encode(PLAIN), name="0.png", reason="wrong_extension"),
    Dirt(id="greyscale", file=encode(PLAIN[..., 0]), reason="greyscale", stored_as="0.png"),
    Dirt(id="exif", file=with_orientation(picture(0, 96, 64), 6), reason="exif_orientation", stored_as="0.png"),
    Dirt(id="box_over_the_border", annotation={"bbox": [80, 10, 40, 10]}, reason="box_clipped"),
    Dirt(id="zero_area", annotation={"bbox": [80, 10, 0, 10]}, reason="box_from_mask"),
    Dirt(id="twice", annotation={"id": 99, "image_id": 2}, reason="duplicate", kept=(40, 39)),
    Dirt(id="outside", annotation={"bbox": [200, 10, 9, 10]}, reason="box_outside", kept=(40, 39)),
    Dirt(id="no_box_but_mask", annotation={"bbox": None}, reason="box_from_mask"),
    Dirt(id="no_mask", annotation={"segmentation": None}, reason="no_mask", kept=(40, 39)),
    Dirt(
        id="bad_mask", annotation={"segmentation": {"size": [8, 8], "counts": [64]}}, reason="bad_mask", kept=(40, 39)
    ),
    Dirt(id="object_of_no_image", annotation={"image_id": 99}, reason="unknown_image", kept=(40, 39)),
]


@pytest.mark.parametrize("case", DIRT, ids=attrgetter("id"))
def test_dirt_is_repaired_or_rejected_and_counted(case: Dirt, tmp_path: Path) -> None:
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 64, "width": 96} for i in range(40)]
    annotations = [coco_annotation(id=i, image_id=i, category_id=i % 2) for i in range(40)]
    annotations[0] = coco_annotation(**case.annotation)
    write_coco(tmp_path / "raw", coco_tree(images=images, annotations=annotations))
    images[0] |= {"file_name": case.name, **case.image}
    if case.file is not None:
        (tmp_path / "raw" / "images" / "0.jpg").unlink()
        if case.file:
            (tmp_path / "raw" / "images" / case.name).write_bytes(case.file)
    (tmp_path / "raw" / "annotations.json").write_text(json.dumps(coco_tree(images=images, annotations=annotations)))

    report = run(tmp_path / "raw")

    assert report.reasons == {case.reason: 1}
    assert (report.images_kept, report.objects_kept) == case.kept
    assert report.images_found == 40
    assert report.images_found == report.images_kept + report.images_rejected
    assert report.objects_found == report.objects_kept + report.objects_rejected == 40
    stored = [entry for split in ("train", "val") for entry in tree_of(tmp_path / "prepared", split)["images"]]
    assert len(stored) == case.kept[0]
    if case.kept[0] == 40:
        first = next(entry for entry in stored if entry["source_file"] == case.name)
        assert first["file_name"] == case.stored_as
        assert (first["height"], first["width"]) == (64, 96)


def test_clean_images_are_stored_byte_for_byte(tmp_path: Path) -> None:
    run(write_coco(tmp_path / "raw"))
    for split in ("train", "val"):
        for path in (tmp_path / "prepared" / split / "images").iterdir():
            assert path.read_bytes() == (tmp_path / "raw" / "images" / path.name).read_bytes()


def test_sub_folders_and_equal_names_do_not_collide(tmp_path: Path) -> None:
    names = ["a/x.jpg", "b/x.jpg", "a__x.jpg", "A__X.jpg", "ü n.jpg", "y.jpg"]
    tree = coco_tree()
    for entry, name in zip(tree["images"], names, strict=True):
        entry["file_name"] = name
        (tmp_path / "raw" / "images" / name).parent.mkdir(parents=True, exist_ok=True)
    write_coco(tmp_path / "raw", tree)
    run(tmp_path / "raw", split={"val": 0.1})
    entries = [entry for split in ("train", "val") for entry in tree_of(tmp_path / "prepared", split)["images"]]
    assert {entry["source_file"] for entry in entries} == set(names)
    train = [entry["file_name"].casefold() for entry in tree_of(tmp_path / "prepared", "train")["images"]]
    assert len(set(train)) == len(train) == 5


def test_a_name_with_a_number_may_be_taken_too() -> None:
    sample = Sample(source_file="a.jpg", path=Path("a.jpg"), format="jpeg", height=8, width=8, pixels_sha256="a")
    taken = {"a.jpg", "a_3.jpg"}
    assert flatten_name(sample, 3, taken) == "a_3_3.jpg"
    assert taken == {"a.jpg", "a_3.jpg", "a_3_3.jpg"}


def test_copies_stay_on_one_side(tmp_path: Path) -> None:
    copies = {f"{index}.jpg": encode(picture(index % 4)) for index in range(12)}
    write_coco(tmp_path / "raw", coco_tree(12), copies)
    run(tmp_path / "raw", split={"val": 0.3, "test": 0.2})
    homes: dict[str, set[str]] = {}
    for split in ("train", "val", "test"):
        for path in (tmp_path / "prepared" / split / "images").iterdir():
            homes.setdefault(hash_file(path), set()).add(split)
    assert len(homes) == 4
    assert all(len(splits) == 1 for splits in homes.values())


def test_one_class_works_when_asked_for(tmp_path: Path) -> None:
    tree = coco_tree(
        annotations=[coco_annotation(id=i, image_id=i) for i in range(6)], categories=[{"id": 0, "name": "nut"}]
    )
    write_coco(tmp_path / "raw", tree)
    with pytest.raises(DataError, match=r"1 class only \('nut'\), prepare\.min_classes is 2"):
        run(tmp_path / "raw")
    assert run(tmp_path / "raw", min_classes=1).images_kept == 6


def test_images_without_objects_are_kept(tmp_path: Path) -> None:
    tree = coco_tree(8)
    tree["annotations"] = tree["annotations"][:4]
    report = run(write_coco(tmp_path / "raw", tree), split={"val": 0.5, "test": 0.0})
    empty = 0
    for split in ("train", "val"):
        kept = tree_of(tmp_path / "prepared", split)
        empty += len({image["id"] for image in kept["images"]} - {entry["image_id"] for entry in kept["annotations"]})
    assert (report.images_kept, empty) == (8, 4)


def test_an_empty_test_split_is_a_valid_one(tmp_path: Path) -> None:
    run(write_coco(tmp_path / "raw"))
    split = read_split(tmp_path / "prepared" / "test")
    assert split.images == ()
    assert tree_of(tmp_path / "prepared", "test")["categories"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"max_rejected_fraction": 0.0}, "1 of 6 images rejected (16.7%", id="too_much_rejected"),
        pytest.param({"annotations": "gone.json"}, "gone.json: no such file", id="no_annotations"),
        pytest.param({"source": "voc"}, "is prepare.source coco?", id="wrong_format"),
        pytest.param(
            {"source": "voc", "annotations": "a.json"}, "prepare.annotations: only for source", id="not_for_voc"
        ),
    ],
)
def test_bad_input_loses_nothing(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    write_coco(tmp_path / "raw")
    run(tmp_path / "raw")
    before = all_bytes(tmp_path / "prepared")
    (tmp_path / "raw" / "images" / "3.jpg").write_bytes(b"no longer an image")

    with pytest.raises(UserError) as error:
        run(tmp_path / "raw", **{"max_rejected_fraction": 0.5, **changes})

    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert all_bytes(tmp_path / "prepared") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prepared", "raw"]


def test_nothing_usable_says_why(tmp_path: Path) -> None:
    write_coco(tmp_path / "raw", images={f"{index}.jpg": b"text" for index in range(6)})
    with pytest.raises(DataError, match=r"6 of 6 images rejected .* unreadable 6; first: 0\.jpg"):
        run(tmp_path / "raw")


def test_one_process_and_many_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = PrepareParams.model_validate({"synthetic": SMALL, "calibration_images": 4})
    prepare_data(params, folder=tmp_path, out_dir=tmp_path / "one")
    monkeypatch.setattr(workers, "count_processes", lambda _: 2)
    prepare_data(params, folder=tmp_path, out_dir=tmp_path / "two")
    assert all_bytes(tmp_path / "one") == all_bytes(tmp_path / "two")


def difficult_data(folder: Path, *, source: str) -> Path:
    """Six pictures with a difficult nut each, beside a fig or, in every other one, nothing."""
    figs = [index for index in range(6) if index % 2]
    if source == "voc":
        write_voc(folder)
        for index in range(6):
            objects = [voc_object("fig", box=(50, 0, 90, 40))] * (index in figs) + [voc_object("nut", difficult=1)]
            (folder / "Annotations" / f"{index}.xml").write_text(voc_xml(f"{index}.jpg", *objects))
        return folder
    nuts = [
        coco_annotation(id=index, image_id=index, category_id=0, ignore=1, area=None, segmentation=None)
        for index in range(6)
    ]
    plain = {"category_id": 1, "bbox": [50, 0, 40, 40], "area": None, "segmentation": None}
    rest = [coco_annotation(id=10 + index, image_id=index, **plain) for index in figs]
    return write_coco(folder, coco_tree(annotations=[*rest, *nuts]))


@pytest.mark.parametrize("source", ["voc", "coco"])
@pytest.mark.parametrize(
    ("difficult", "counted", "ignored", "figs_found_are_enough"),
    [("ignore", 3, 6, True), ("keep", 9, 0, False), ("drop", 3, 0, True)],
)
def test_difficult_objects_are_neither_counted_nor_judged(
    tmp_path: Path, source: str, difficult: str, counted: int, ignored: int, figs_found_are_enough: bool
) -> None:
    params = prepare_params(source, difficult=difficult, split={"val": 0.5})
    report = prepare_data(params, folder=difficult_data(tmp_path / "raw", source=source), out_dir=tmp_path / "out")
    splits = report.splits.values()
    assert sum(split.num_objects for split in splits) == counted
    assert sum(split.num_ignored for split in splits) == ignored
    assert sum(split.objects_per_class["nut"] for split in splits) == counted - 3
    assert report.objects_kept == counted + ignored

    truth = tree_of(tmp_path / "out", "val")
    assert sum(entry.get("difficult", 0) for entry in truth["annotations"]) == ignored / 2
    ids = {category["name"]: category["id"] for category in truth["categories"]}
    figs = [
        {"image_id": entry["image_id"], "category_id": entry["category_id"], "bbox": entry["bbox"], "score": 0.5}
        for entry in truth["annotations"]
        if entry["category_id"] == ids["fig"]
    ]
    assert (measure_ap(truth, figs, "bbox").ap == pytest.approx(100)) == figs_found_are_enough
    on_nuts = [
        {"image_id": image["id"], "category_id": ids["nut"], "bbox": [10 + shift, 20, 30, 30], "score": 0.9}
        for image in truth["images"]
        for shift in (0, 1)
    ]
    found = measure_classes(compare_results(truth, [*figs, *on_nuts], "bbox", max_detections=100), score_threshold=0.1)
    # Detections of a difficult object are no false positives, however many; without its label they are.
    assert sum(found.confusion.counts[-1]) == {"ignore": 0, "keep": 3, "drop": 6}[difficult]


def test_what_prepare_calls_difficult_is_difficult_when_it_is_read_again(tmp_path: Path) -> None:
    params = prepare_params("voc", split={"val": 0.5})
    prepare_data(params, folder=difficult_data(tmp_path / "raw", source="voc"), out_dir=tmp_path / "out")
    again = read_coco(tmp_path / "out" / "val", annotations=None, images=None)
    flags = [(found.is_crowd, found.is_difficult) for image in again.images for found in image.objects]
    assert flags.count((False, True)) == 3
    assert not [flag for flag in flags if flag[0]]


def test_nothing_but_difficult_objects_is_an_error_that_says_so(tmp_path: Path) -> None:
    nuts = [coco_annotation(id=index, image_id=index, ignore=1) for index in range(6)]
    write_coco(tmp_path / "raw", coco_tree(annotations=nuts))
    with pytest.raises(DataError, match=r"no annotated object .* but \d+ that are ignored .*prepare.difficult"):
        run(tmp_path / "raw")


def test_split_without_any_object_is_an_error(tmp_path: Path) -> None:
    write_coco(tmp_path / "raw", coco_tree(annotations=[coco_annotation(bbox=list(SQUARE))]))
    with pytest.raises(DataError, match=r"no annotated object is left in (train|val)"):
        run(tmp_path / "raw")


samples = pytest.mark.skipif("DETECTION_SAMPLES" not in os.environ, reason="DETECTION_SAMPLES is not set")


@samples
def test_blood_cells(tmp_path: Path) -> None:
    folder = Path(os.environ["DETECTION_SAMPLES"]) / "bccd" / "BCCD"
    report = prepare_data(prepare_params("voc"), folder=folder, out_dir=tmp_path / "prepared")
    assert {split: summary.num_images for split, summary in report.splits.items()} == {
        "train": 205,
        "val": 87,
        "test": 72,
    }
    assert (report.objects_found, report.objects_kept) == (4888, 4886)
    assert [(fate.file, fate.reason) for fate in report.fates] == [
        ("BloodImage_00343.jpg", "box_zero_area"),
        ("BloodImage_00338.jpg", "box_zero_area"),
    ]


@samples
def test_nuts(tmp_path: Path) -> None:
    folder = Path(os.environ["DETECTION_SAMPLES"]) / "nuts_mmdet" / "data"
    params = prepare_params("coco", annotations="trainval.json", images="images", split={"val": 0.22})
    report = prepare_data(params, folder=folder, out_dir=tmp_path / "prepared")
    assert {split: summary.num_images for split, summary in report.splits.items()} == {"train": 14, "val": 4, "test": 0}
    assert (report.objects_kept, report.reasons) == (165, {})
    assert read_labels(tmp_path / "prepared" / "labels.json") == {1: "date", 2: "fig", 3: "hazelnut"}
