"""Colours in the wrong order show in AP, and the warning says how much is lost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.core.datasets.prepared import read_split
from stages.core.processing.stored_outputs import StoredOutputs, load_outputs, save_outputs
from stages.core.validating.color_order import find_color_swap
from stages.core.validating.validate import find_wrong_statements
from tests.builders import model_outputs, write_split
from tests.tiny_project import tiny_interface

INTERFACE = tiny_interface("retinanet_mobiledet_tiny")
INTERFACE = replace(INTERFACE, input=replace(INTERFACE.input, shape=(1, 128, 128, 3)), class_offset=1)


def blind(outputs: StoredOutputs) -> StoredOutputs:
    """The same model that finds nothing."""
    return replace(outputs, outputs=outputs.outputs | {"num_detections": outputs.outputs["num_detections"] * 0})


@pytest.mark.parametrize(("stated_is_right", "swapped_is_right"), [(True, True), (True, False), (False, False)])
def test_nothing_is_said_where_the_order_is_right_or_makes_no_difference(
    tmp_path: Path, stated_is_right: bool, swapped_is_right: bool
) -> None:
    assert warn(tmp_path, stated_is_right, swapped_is_right) == ()


def test_a_swap_is_seen(tmp_path: Path) -> None:
    (note,) = warn(tmp_path, False, True)
    assert "would be 100.0 instead of 0.0 if red and blue were changed over: check `color_order`" in note


def warn(folder: Path, stated_is_right: bool, swapped_is_right: bool) -> tuple[str, ...]:
    outputs = model_outputs(write_split(folder / "val"), masks=False, noise=0.0)
    stated, swapped = (outputs if right else blind(outputs) for right in (stated_is_right, swapped_is_right))
    both = replace(stated, swapped_image_ids=swapped.image_ids, swapped_outputs=swapped.outputs)
    save_outputs(both, folder / "reference.npz")
    split = read_split(folder / "val")
    return find_color_swap(load_outputs(folder / "reference.npz"), INTERFACE, split.images, split.annotations)


def test_our_own_models_are_not_asked(tmp_path: Path) -> None:
    outputs = blind(model_outputs(write_split(tmp_path / "val"), masks=False, noise=0.0))
    split = read_split(tmp_path / "val")
    assert not outputs.swapped_image_ids.size
    assert np.size(outputs.image_ids)
    assert find_wrong_statements(outputs, INTERFACE, split.images, split.annotations, box_ap=0.0) == ()
