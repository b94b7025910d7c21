"""Keras weights of our own layers: of a backbone alone or a whole detector, in every format."""

from pathlib import Path

import numpy as np
import pytest

from stages.core.base.errors import CheckpointError
from stages.core.detectors.variables import list_detector_variables
from stages.core.tables.detectors import DETECTORS
from stages.core.training.initializing.load import load_weights
from tests import checkpoint_builder as build

pytestmark = pytest.mark.slow

ROW = DETECTORS["retinanet_mobiledet_tiny"]


@pytest.mark.parametrize("name", ["all.h5", "all.weights.h5", "backbone.h5", "backbone.weights.h5"])
def test_weights_come_back(name: str, tmp_path: Path) -> None:
    model = build.narrow_model()
    part = model.backbone if name.startswith("backbone") else model
    kept = {variable.ref(): variable.numpy() for variable in part.weights}
    part.save_weights(tmp_path / name)
    for variable in model.weights:
        variable.assign(variable * 0)
    record = load_weights(model, ROW, build.open_checkpoint(tmp_path / name, tmp_path), "all", build.LABELS)
    assert record.kind == "Keras weights"
    # Keras's newer format leaves out what is in lists of lists: a RetinaNet head's batch norms.
    left_out = {path for path in record.missing if "_norms/" in path} if name == "all.weights.h5" else set()
    paths = {variable.ref(): path for path, variable in list_detector_variables(model).items()}
    for variable in part.weights:
        if paths[variable.ref()] not in left_out:
            np.testing.assert_array_equal(variable, kept[variable.ref()])
    if left_out:
        assert set(record.missing) == left_out
        return
    loaded = {part.part for part in record.parts if part.loaded}
    assert all(part.loaded == part.variables for part in record.parts if part.part in loaded)
    assert loaded == ({"backbone"} if name.startswith("backbone") else {part.part for part in record.parts})
    for variable in model.weights:  # as the next test expects them
        variable.assign(np.full(variable.shape, 0.5))


def test_a_frozen_backbone_is_read_in_the_same_order(tmp_path: Path) -> None:
    model = build.narrow_model()
    kept = [np.random.default_rng(index).random(value.shape) for index, value in enumerate(model.backbone.weights)]
    for variable, value in zip(model.backbone.weights, kept, strict=True):
        variable.assign(value)
    order = [variable.ref() for variable in model.backbone.weights]
    model.backbone.save_weights(tmp_path / "backbone.h5")
    model.backbone.trainable = False
    try:
        load_weights(model, ROW, build.open_checkpoint(tmp_path / "backbone.h5", tmp_path), ["backbone"], build.LABELS)
    finally:
        model.backbone.trainable = True
    found = {variable.ref(): variable.numpy() for variable in model.backbone.weights}
    for ref, value in zip(order, kept, strict=True):
        np.testing.assert_array_equal(found[ref], np.float32(value))


def test_a_keras_archive_is_read(tmp_path: Path) -> None:
    model = build.narrow_model()
    kept = [variable.numpy() for variable in model.backbone.weights]
    model.backbone.save(tmp_path / "backbone.keras")
    for variable in model.backbone.weights:
        variable.assign(variable + 1)
    load_weights(model, ROW, build.open_checkpoint(tmp_path / "backbone.keras", tmp_path), "all", build.LABELS)
    assert all(np.array_equal(value, now) for value, now in zip(kept, model.backbone.weights, strict=True))


@pytest.mark.parametrize("name", ["text.h5", "text.keras", "text.pb"])
def test_files_that_are_none_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("no weights")
    with pytest.raises(CheckpointError, match=rf"{name}: a damaged checkpoint \({name}: .*nothing was loaded"):
        load_weights(build.narrow_model(), ROW, build.open_checkpoint(tmp_path / name, tmp_path), "all", build.LABELS)
