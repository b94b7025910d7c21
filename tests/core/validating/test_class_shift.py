"""Classes that are counted from the wrong number show in AP, and the warning says in which direction."""

from dataclasses import replace
from pathlib import Path

import pytest

from stages.core.datasets.prepared import read_split
from stages.core.validating.class_shift import find_class_shift
from stages.core.validating.gathering import decode_reference
from tests.builders import model_outputs, write_split
from tests.tiny_project import tiny_interface


@pytest.mark.parametrize(
    ("class_map", "says"),
    [
        ((), None),
        ((1, 2, 3), None),
        ((0, 1, 2, 3), "one higher than stated"),
        ((2, 3, 0), "one lower than stated"),
        ((2, 1, 3), None),
    ],
)
def test_a_shift_is_seen(tmp_path: Path, class_map: tuple[int, ...], says: str | None) -> None:
    objects = write_split(tmp_path / "val")
    split = read_split(tmp_path / "val")
    base = tiny_interface("retinanet_mobiledet_tiny")
    spec = replace(base.input, shape=(1, 128, 128, 3))
    interface = replace(base, input=spec, class_map=class_map, class_offset=1)
    outputs = model_outputs(objects, masks=False, noise=0.0)
    stated = decode_reference(outputs, interface, split.images).results.measure(split.annotations).box.ap
    notes = find_class_shift(outputs, interface, split.images, split.annotations, box_ap=stated)
    assert len(notes) == (says is not None)
    if says is not None:
        assert says in notes[0]
        assert "instead of" in notes[0]
