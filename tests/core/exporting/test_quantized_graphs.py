"""A quantized model through the same export as a float one: what is left in the file of its roundings."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stages.core.converting.fake_quant import KEEPS_RANGE, complete_ranges, strip_fake_quant
from stages.core.converting.recipes import KINDS_BETWEEN
from stages.core.converting.selection import select_ops
from stages.core.exporting.export import GRAPHS
from stages.core.exporting.graph import PostProcessingSettings, normalize_pixels
from stages.core.exporting.tflite import convert_functions
from stages.core.graphs.flatbuffer import Graph, read_graph
from stages.core.params.steps import ExportParams
from stages.core.quantizing.model import put_weights_on_grid, quantize_model
from stages.core.results.interface import SIGNATURE
from stages.core.results.kinds import Precision
from stages.core.tables.detectors import DETECTORS
from tests.exported_project import MODELS, SIZE, random_model
from tests.quantized_model import observe
from tests.run_graph import run_graph

pytestmark = pytest.mark.slow

SETTINGS = PostProcessingSettings(**ExportParams(max_detections=20, num_proposals=40).model_dump())
PIXELS = np.floor(np.random.default_rng(0).uniform(0, 256, (1, SIZE, SIZE, 3))).astype(np.float32)


@pytest.fixture(scope="module", params=MODELS)
def simulated(request: pytest.FixtureRequest) -> tuple[bytes, Any]:
    """(file with roundings, deployment graph) of one tiny model."""
    config, model = random_model(request.param)
    quantize_model(model)
    observe(model, normalize_pixels(tf.constant(PIXELS), config.task.model.pixels))
    put_weights_on_grid(model)
    graph = GRAPHS[DETECTORS[request.param].family](config.task.model, model, SETTINGS)
    return convert_functions({SIGNATURE: graph.detect}), graph


def selected(graph: Graph) -> frozenset[int]:
    return select_ops(graph, KINDS_BETWEEN[Precision.INT8]).tensors(graph)


def test_every_tensor_that_int8_rounds_has_a_range(simulated: tuple[bytes, Any]) -> None:
    stripped = strip_fake_quant(simulated[0])
    graph = read_graph(stripped.content, "stripped")
    assert not {op.kind for op in graph.ops} & {"QUANTIZE", "DEQUANTIZE", "FAKE_QUANT"}
    ranges, missing = complete_ranges(graph, selected(graph), stripped.ranges)
    assert missing == ()
    assert len(ranges) > 50
    assert all(found.low <= 0.0 <= found.high for found in ranges.values())


def test_no_coordinate_is_rounded(simulated: tuple[bytes, Any]) -> None:
    """A rounded tensor is read or written by a layer, or puts together what layers have written."""
    stripped = strip_fake_quant(simulated[0])
    graph = read_graph(stripped.content, "stripped")
    layers = selected(graph)

    def comes_from_layers(index: int) -> bool:
        producer = graph.producers.get(index)
        if index in layers or producer is None or producer.kind not in KEEPS_RANGE | {"CONCATENATION"}:
            return index in layers
        return all(comes_from_layers(tensor.index) for tensor in graph.variable_inputs(producer))

    rounded = [tensor for tensor in graph.tensors if tensor.name in stripped.ranges]
    assert len(rounded) == len(stripped.ranges)
    assert [tensor.name for tensor in rounded if not comes_from_layers(tensor.index)] == []


def test_weights_are_stored_rounded(simulated: tuple[bytes, Any]) -> None:
    """No rounding of a constant is left to the runtime: each pair reads what an op has computed."""
    graph = read_graph(simulated[0], "simulated")
    starts = [graph.tensors[op.inputs[0]] for op in graph.ops if op.kind == "QUANTIZE"]
    assert starts
    assert [tensor.name for tensor in starts if tensor.constant] == []


def test_the_float_file_answers_as_tensorflow_simulates(simulated: tuple[bytes, Any]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    content, graph = simulated
    expected, _ = run_graph(graph, PIXELS)
    runner = Interpreter(model_content=content).get_signature_runner(SIGNATURE)
    found = runner(image=PIXELS)
    # A value on the border between two steps may fall to either side; with random weights, boxes then swap their order.
    scores = [np.sort(outputs["detection_scores"][0]) for outputs in (expected, found)]
    assert np.abs(scores[0] - scores[1]).mean() < 0.02
