from copy import copy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from stages.core.base.errors import ArtifactError, DataError
from stages.core.base.layout import TFLITE_FILES, Layout
from stages.core.converting.ranges import MIN_RANGE, measure_ranges
from stages.core.converting.recipes import INPUT_EDITS, RECIPES, RecipeInput, make_file
from stages.core.converting.uint8_input import feed_uint8
from stages.core.datasets.prepared import read_calibration
from stages.core.graphs.flatbuffer import pack_model, parse_model, read_graph
from stages.core.results.interface import read_interface
from stages.core.results.kinds import Backend
from stages.core.tables.schemes import SCHEMES
from tests.builders import applies
from tests.exported_project import MODELS, SCHEMES_OF_TRAINED

pytestmark = pytest.mark.slow

TFLITE_SCHEMES = {name: scheme for name, scheme in SCHEMES.items() if scheme.backend is Backend.TFLITE}
CELLS = [
    (model, scheme)
    for model in MODELS
    for scheme in SCHEMES_OF_TRAINED
    if scheme in TFLITE_SCHEMES and applies(model, scheme)
]


def source(layout: Layout, model: str, scheme: str = "int8", *, limit: int = 4) -> RecipeInput:
    folder = layout.exported(model, "trained")
    return RecipeInput(
        content=(folder / TFLITE_FILES[SCHEMES[scheme].form]).read_bytes(),
        images=read_calibration(layout.calibration, limit=limit),
        spec=read_interface(folder).input,
    )


@cache
def make_once(layout: Layout, model: str, scheme: str) -> bytes:
    """The file of a scheme, which several modules look at."""
    return make_file(source(layout, model, scheme), SCHEMES[scheme]).content


def run(content: bytes, pixels: np.ndarray) -> dict[str, np.ndarray]:
    interpreter = Interpreter(model_content=content, num_threads=1)
    return {name: np.array(value) for name, value in interpreter.get_signature_runner()(image=pixels).items()}


def test_every_row_of_the_scheme_table_has_a_recipe() -> None:
    for scheme in TFLITE_SCHEMES.values():
        assert (scheme.backend, scheme.weights, scheme.activations) in RECIPES
        assert scheme.input in INPUT_EDITS


@pytest.mark.parametrize("model", MODELS)
def test_uint8_pixels_give_what_float_pixels_give(exported_project: Layout, model: str) -> None:
    content = make_once(exported_project, model, "int8")
    pixels = np.random.default_rng(5).integers(0, 256, (1, 128, 128, 3), np.uint8)
    expected, found = run(content, pixels.astype(np.float32)), run(feed_uint8(content), pixels)
    num = int(expected["num_detections"][0])
    assert num > 0
    for name in expected:
        np.testing.assert_array_equal(found[name][:, :num], expected[name][:, :num], err_msg=name) if name != (
            "num_detections"
        ) else np.testing.assert_array_equal(found[name], expected[name])


def test_uint8_input_twice_is_refused(exported_project: Layout) -> None:
    once = feed_uint8(source(exported_project, "retinanet_mobiledet_tiny").content)
    with pytest.raises(ArtifactError, match="expected one float32 image"):
        feed_uint8(once)


def test_ranges_are_those_of_the_images_and_hold_zero(exported_project: Layout) -> None:
    start = source(exported_project, "retinanet_mobiledet_tiny", limit=3)
    graph = read_graph(start.content, "tiny")
    image = graph.inputs["image"]
    found = measure_ranges(start.content, frozenset({image, graph.ops[0].outputs[0]}), start.images, start.spec)
    assert found.ranges[image].low >= 0.0
    assert 100 < found.ranges[image].high <= 255
    assert all(r.low <= 0.0 <= r.high and r.high - r.low >= MIN_RANGE for r in found.ranges.values())
    assert found.num_detections == 0, "not asked for"


def test_no_images_no_ranges(exported_project: Layout) -> None:
    start = replace(source(exported_project, "retinanet_mobiledet_tiny"), images=())
    with pytest.raises(DataError, match="calibration list is empty"):
        make_file(start, SCHEMES["int8"])


def test_files_are_the_same_each_time(exported_project: Layout) -> None:
    start = source(exported_project, "retinanet_mobiledet_tiny")
    assert make_file(start, SCHEMES["int8"]) == make_file(start, SCHEMES["int8"])


def replace_stored(content: bytes, kind: str, index: int, value: float) -> bytes:
    """The same graph, in which the last op of a kind reads another stored float32."""
    model = parse_model(content, "a good file")
    graph, builtin = model.subgraphs[0], getattr(schema.BuiltinOperator, kind)
    op = [op for op in graph.operators if model.operatorCodes[op.opcodeIndex].builtinCode == builtin][-1]
    # A tensor of its own: ops share theirs.
    tensor = copy(graph.tensors[op.inputs[index]])
    tensor.name, tensor.buffer = "replaced", len(model.buffers)
    op.inputs[index] = len(graph.tensors)
    graph.tensors.append(tensor)
    model.buffers.append(schema.BufferT())
    model.buffers[-1].data = np.frombuffer(np.float32([value]).tobytes(), np.uint8)
    return pack_model(model)


def find_nothing(content: bytes) -> bytes:
    """The same graph, whose last suppression leaves nothing: it wants higher scores than there are."""
    return replace_stored(content, "NON_MAX_SUPPRESSION_V4", 4, 1e9)


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_a_mask_head_that_saw_no_object_is_noted(exported_project: Layout, scheme: str) -> None:
    start = source(exported_project, "maskrcnn_tiny", limit=2)
    seen = make_file(start, SCHEMES[scheme]).made
    assert (seen.notes, bool(seen.calibration_detections)) == ((), True)
    blind = make_file(replace(start, content=find_nothing(start.content)), SCHEMES[scheme]).made
    assert blind.calibration_detections == 0
    assert blind.notes == (
        "none of 2 calibration images gives a detection: the mask head's ranges come from empty regions",
    )


def test_without_masks_there_is_nothing_to_note(exported_project: Layout) -> None:
    start = source(exported_project, "retinanet_mobiledet_tiny", limit=2)
    blind = make_file(replace(start, content=find_nothing(start.content)), SCHEMES["int8"]).made
    assert (blind.notes, blind.calibration_detections) == ((), 0)
