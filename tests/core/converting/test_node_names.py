"""An IR's bytes depend on the model alone, not on what the process made before it."""

from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from stages.core.converting.openvino import number_nodes


def build_model() -> ov.Model:
    x = ops.parameter([1, 3, 8, 8], np.float32, name="image")
    kernel = ops.constant(np.ones((4, 3, 1, 1), np.float32))
    y = ops.relu(ops.convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1]))
    named = ops.add(y, ops.constant(np.float32(1)), name="head/add")
    return ov.Model([ops.result(named, name="scores")], [x], "model")


def write(folder: Path) -> bytes:
    model = build_model()
    number_nodes(model)
    folder.mkdir()
    ov.save_model(model, folder / "model.xml")
    return (folder / "model.xml").read_bytes()


def test_the_same_model_has_the_same_bytes(tmp_path: Path) -> None:
    first = write(tmp_path / "first")
    build_model()  # takes the next numbers
    assert write(tmp_path / "second") == first


def test_names_stay_apart_and_given_names_stay() -> None:
    model = build_model()
    number_nodes(model)
    names = [node.get_friendly_name() for node in model.get_ordered_ops()]
    assert len(set(names)) == len(names)
    assert {"image", "head/add", "scores"} <= set(names)
