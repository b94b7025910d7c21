from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from stages.core.converting.flatbuffer import read_graph
from stages.core.converting.ranges import MIN_RANGE, measure_ranges
from stages.core.converting.recipes import INPUT_EDITS, RECIPES, Source, make_file
from stages.core.converting.uint8_input import feed_uint8
from stages.core.datasets.prepared import read_calibration
from stages.core.errors import ArtifactError, DataError
from stages.core.interface import read_interface
from stages.core.layout import Layout
from stages.core.schemes import SCHEMES
from tests.exported_project import MODELS


def source(layout: Layout, model: str, *, limit: int = 4) -> Source:
    folder = layout.exported(model, "trained")
    return Source(
        content=(folder / "model.tflite").read_bytes(),
        images=read_calibration(layout.calibration, limit=limit),
        spec=read_interface(folder).input,
    )


def run(content: bytes, pixels: np.ndarray) -> dict[str, np.ndarray]:
    interpreter = Interpreter(model_content=content, num_threads=1)
    return {name: np.array(value) for name, value in interpreter.get_signature_runner()(image=pixels).items()}


def test_every_row_of_the_scheme_table_has_a_recipe() -> None:
    for scheme in SCHEMES.values():
        assert (scheme.backend, scheme.weights, scheme.activations) in RECIPES
        assert scheme.input in INPUT_EDITS


@pytest.mark.parametrize("model", MODELS)
def test_uint8_pixels_give_what_float_pixels_give(exported_project: Layout, model: str) -> None:
    content = make_file(source(exported_project, model), SCHEMES["int8"])
    pixels = np.random.default_rng(5).integers(0, 256, (1, 128, 128, 3), np.uint8)
    expected, found = run(content, pixels.astype(np.float32)), run(feed_uint8(content), pixels)
    num = int(expected["num_detections"][0])
    assert num > 0
    for name in expected:
        np.testing.assert_array_equal(found[name][:, :num], expected[name][:, :num], err_msg=name) if name != (
            "num_detections"
        ) else np.testing.assert_array_equal(found[name], expected[name])


def test_uint8_input_twice_is_refused(exported_project: Layout) -> None:
    once = feed_uint8(source(exported_project, "mobiledet_tiny").content)
    with pytest.raises(ArtifactError, match="expected one float32 image"):
        feed_uint8(once)


def test_ranges_are_those_of_the_images_and_hold_zero(exported_project: Layout) -> None:
    start = source(exported_project, "mobiledet_tiny", limit=3)
    graph = read_graph(start.content, "tiny")
    image = graph.inputs["image"]
    found = measure_ranges(start.content, frozenset({image, graph.ops[0].outputs[0]}), start.images, start.spec)
    assert found[image].low >= 0.0
    assert 100 < found[image].high <= 255
    assert all(r.low <= 0.0 <= r.high and r.high - r.low >= MIN_RANGE for r in found.values())


def test_no_images_no_ranges(exported_project: Layout) -> None:
    start = replace(source(exported_project, "mobiledet_tiny"), images=())
    with pytest.raises(DataError, match="calibration list is empty"):
        make_file(start, SCHEMES["int8"])


def test_files_are_the_same_each_time(exported_project: Layout) -> None:
    start = source(exported_project, "mobiledet_tiny")
    assert make_file(start, SCHEMES["int8"]) == make_file(start, SCHEMES["int8"])
