"""What a checkpoint's classes are called, and which of them are ours."""

import json
from pathlib import Path

import numpy as np
import pytest

from stages.core.base.errors import CheckpointError
from stages.core.tables.detectors import Family
from stages.core.training.initializing.class_names import find_class_names, read_class_names
from stages.core.training.initializing.class_rows import carry_rows, share_classes, values_per_class
from stages.core.training.initializing.coco_classes import COCO_CLASSES
from stages.core.training.initializing.zoo import ZOO

LABEL_MAP = """# ours
item { id: 2 name: '/m/01' display_name: "cat" unknown: 3 }
item {
  name: "dog"
  id: 5
}
item { id: 0 name: 'background' }
"""


def test_label_maps_and_json_are_read(tmp_path: Path) -> None:
    (tmp_path / "map.pbtxt").write_text(LABEL_MAP)
    (tmp_path / "labels.json").write_text(json.dumps({"1": "cat", "2": "dog"}))
    assert read_class_names(tmp_path / "map.pbtxt") == {2: "cat", 5: "dog"}
    assert read_class_names(tmp_path / "labels.json") == {1: "cat", 2: "dog"}


BAD = {
    "missing.pbtxt": (None, "no such file"),
    "text.pbtxt": ("no label map", "expected a label map"),
    "twice.pbtxt": ("item { id: 1 name: 'a' } item { id: 1 name: 'b' }", "1 is there twice"),
    "same.pbtxt": ("item { id: 1 name: 'a' } item { id: 2 name: 'a' }", "'a' is there twice"),
    "nameless.pbtxt": ("item { id: 1 }", "expected classes with an id from 1 and a name"),
    "empty.pbtxt": ("", "expected classes"),
    "list.json": ('["a"]', "found list"),
    "broken.json": ("{", "expected a label map"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_line(name: str, tmp_path: Path) -> None:
    text, says = BAD[name]
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=says) as caught:
        read_class_names(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_the_user_comes_first_then_what_is_beside_the_checkpoint_then_the_zoo(tmp_path: Path) -> None:
    prefix, entry = tmp_path / "model.ckpt", ZOO["ssdlite_mobiledet_cpu"]
    assert find_class_names(None, prefix, None, tmp_path) == ("", {})
    assert find_class_names(None, prefix, entry, tmp_path) == ("the zoo's table", COCO_CLASSES)
    (tmp_path / "label_map.pbtxt").write_text(LABEL_MAP)
    assert find_class_names(None, prefix, entry, tmp_path) == (str(tmp_path / "label_map.pbtxt"), {2: "cat", 5: "dog"})
    assert find_class_names("label_map.pbtxt", prefix, entry, tmp_path)[1] == {2: "cat", 5: "dog"}
    assert find_class_names(("a", "b"), prefix, entry, tmp_path) == ("init_labels", {1: "a", 2: "b"})
    assert find_class_names({7: "a"}, prefix, entry, tmp_path) == ("init_labels", {7: "a"})


def test_coco_is_eighty_classes_with_gaps() -> None:
    assert (len(COCO_CLASSES), COCO_CLASSES[1], COCO_CLASSES[90]) == (80, "person", "toothbrush")
    assert not {12, 26, 29, 30, 45, 66, 68, 69, 71, 83} & COCO_CLASSES.keys()


def test_classes_are_shared_by_name() -> None:
    rows = share_classes({1: "person", 3: "car"}, {1: "red", 2: "Person", 3: "car"})
    assert (rows.stored, rows.ours, rows.source) == (4, 4, {0: 0, 2: 1, 3: 3})
    assert not rows.is_identity
    assert share_classes({1: "a", 2: "b"}, {1: "A", 2: "b"}).is_identity
    assert not share_classes({1: "a", 2: "b"}, {1: "b", 2: "a"}).is_identity


@pytest.mark.parametrize("per_class", [1, 4])
def test_rows_are_carried_anchor_by_anchor(per_class: int) -> None:
    rows = share_classes({1: "x", 2: "b", 3: "y"}, {1: "a", 2: "b"})
    stored = np.arange(2 * 3 * 4 * per_class, dtype=np.float32).reshape(2, 3 * 4 * per_class)
    fresh = -np.ones((2, 3 * 3 * per_class), np.float32)
    found = carry_rows(stored, fresh, rows, per_class)
    assert found is not None
    found, theirs = found.reshape(2, 3, 3, per_class), stored.reshape(2, 3, 4, per_class)
    np.testing.assert_array_equal(found[:, :, 0], theirs[:, :, 0])
    np.testing.assert_array_equal(found[:, :, 1], -1)
    np.testing.assert_array_equal(found[:, :, 2], theirs[:, :, 2])


def test_other_anchors_are_not_taken_for_classes() -> None:
    rows = share_classes({1: "a"}, {1: "a"})
    assert carry_rows(np.ones(12), np.ones(6), rows, 1) is None
    assert carry_rows(np.ones((2, 6)), np.ones((3, 6)), rows, 1) is None
    assert carry_rows(np.ones(5), np.ones(6), rows, 1) is None


def test_every_family_says_where_its_classes_are() -> None:
    paths = {
        Family.RETINANET: ("head/_classifier/bias", "head/_box_regressor/bias"),
        Family.SSDLITE: ("head/_classifier/0/kernel", "head/_box_regressor/0/kernel"),
        Family.MASKRCNN: ("detection_head/0/_box_regressor/kernel", "rpn_head/_classifier/kernel"),
    }
    for family, (with_classes, without) in paths.items():
        assert values_per_class(family, with_classes) == (4 if family is Family.MASKRCNN else 1)
        assert values_per_class(family, without) is None
