"""Roundings that training left in a file: read by hand-made graphs whose answers are known."""

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from stages.core.converting.fake_quant import complete_ranges, strip_fake_quant
from stages.core.converting.ranges import Range
from stages.core.graphs.flatbuffer import Graph, read_graph
from tests.tflite_builder import Graph as Builder

SHAPE = (1, 4)


def rounded(builder: Builder, before: int, name: str, *, scale: float, zero_point: int) -> int:
    """Adds a pair as the converter writes it, and gives the tensor after it."""
    stored, after = builder.tensor(f"{name}_stored", SHAPE), builder.tensor(f"{name}_after", SHAPE)
    tensor: Any = builder.model.subgraphs[0].tensors[stored]
    tensor.type, tensor.quantization = schema.TensorType.UINT8, schema.QuantizationParametersT()
    tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero_point]
    builder.op("QUANTIZE", [before], [stored])
    builder.op("DEQUANTIZE", [stored], [after])
    return after


def simulated() -> bytes:
    """image -> rounding in -1..1.55 -> times 2 -> rounding in 0..2.55 -> reshape -> rounding in 0..5.1 -> times 3."""
    builder = Builder()
    image, doubled = builder.tensor("image", SHAPE), builder.tensor("doubled", SHAPE)
    reshaped, result = builder.tensor("reshaped", SHAPE), builder.tensor("result", SHAPE)
    pixels = rounded(builder, image, "pixels", scale=0.01, zero_point=100)
    builder.op("MUL", [pixels, builder.constant("two", np.float32([2]))], [doubled])
    kept = rounded(builder, doubled, "kept", scale=0.01, zero_point=0)
    builder.op("RESHAPE", [kept, builder.constant("shape", np.int32(SHAPE))], [reshaped])
    wide = rounded(builder, reshaped, "wide", scale=0.02, zero_point=0)
    builder.op("MUL", [wide, builder.constant("three", np.float32([3]))], [result])
    return builder.finish({"image": image}, {"result": result})


def run(content: bytes, values: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=content)
    runner = interpreter.get_signature_runner()
    result: np.ndarray = runner(image=values)["result"]
    return result


def test_pairs_go_and_their_ranges_stay() -> None:
    stripped = strip_fake_quant(simulated())
    graph = read_graph(stripped.content, "stripped")
    assert [op.kind for op in graph.ops] == ["MUL", "RESHAPE", "MUL"]
    assert [tensor.name for tensor in graph.tensors] == [
        "image",
        "doubled",
        "reshaped",
        "result",
        "two",
        "shape",
        "three",
    ]
    expected = {"image": (-1.0, 1.55), "doubled": (0.0, 2.55), "reshaped": (0.0, 5.1)}
    assert stripped.ranges.keys() == expected.keys()
    for name, (low, high) in expected.items():
        assert (stripped.ranges[name].low, stripped.ranges[name].high) == pytest.approx((low, high))


def test_what_is_left_computes_in_floats() -> None:
    values = np.asarray([[0.1234, 1.0, 0.0, 0.5]], np.float32)
    np.testing.assert_allclose(run(strip_fake_quant(simulated()).content, values), 6 * values, rtol=1e-6)
    assert np.abs(run(simulated(), values) - 6 * values).max() > 1e-3


def test_a_rounded_result_keeps_its_name() -> None:
    builder = Builder()
    image, doubled = builder.tensor("image", SHAPE), builder.tensor("doubled", SHAPE)
    builder.op("MUL", [image, builder.constant("two", np.float32([2]))], [doubled])
    result = rounded(builder, doubled, "result", scale=0.01, zero_point=0)
    stripped = strip_fake_quant(builder.finish({"image": image}, {"result": result}))
    values = np.asarray([[0.1234, 1.0, 0.0, 0.5]], np.float32)
    np.testing.assert_allclose(run(stripped.content, values), 2 * values)


def test_a_file_without_roundings_stays_as_it_is() -> None:
    once = strip_fake_quant(simulated()).content
    again = strip_fake_quant(once)
    assert again.ranges == {}
    values = np.asarray([[0.1, 0.2, 0.3, 0.4]], np.float32)
    np.testing.assert_array_equal(run(again.content, values), run(once, values))


def graph_of(*ops: tuple[str, str, str]) -> Graph:
    """(kind, read, written) for each op over float tensors."""
    builder = Builder()
    names = dict.fromkeys(name for _, *both in ops for name in both)
    tensors = {name: builder.tensor(name, SHAPE) for name in names}
    for kind, before, after in ops:
        builder.op(kind, [tensors[before]], [tensors[after]])
    return read_graph(builder.finish({"image": tensors[ops[0][1]]}, {"result": tensors[ops[-1][2]]}), "test")


CASES: dict[str, tuple[tuple[tuple[str, str, str], ...], tuple[str, ...]]] = {
    "its_own": ((("MUL", "a", "known"), ("MUL", "known", "c")), ("known",)),
    "reshaped_from": ((("RESHAPE", "known", "b"), ("MUL", "b", "c")), ("b",)),
    "enlarged_and_reshaped_from": ((("RESIZE_NEAREST_NEIGHBOR", "known", "b"), ("RESHAPE", "b", "c")), ("c",)),
    "joined_and_gathered_from": ((("CONCATENATION", "known", "b"), ("GATHER", "b", "c")), ("b", "c")),
    "reshaped_to": ((("MUL", "a", "b"), ("RESHAPE", "b", "known")), ("b",)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_range_holds_for_the_same_values_elsewhere(case: str) -> None:
    ops, names = CASES[case]
    graph = graph_of(*ops)
    wanted = {tensor.index for tensor in graph.tensors if tensor.name in names}
    ranges, missing = complete_ranges(graph, wanted, {"known": Range(-1.0, 2.0)})
    assert missing == ()
    assert ranges == dict.fromkeys(wanted, Range(-1.0, 2.0))


def test_a_joined_tensor_spans_its_parts() -> None:
    builder = Builder()
    first, second, both = (builder.tensor(name, SHAPE) for name in ("first", "second", "both"))
    builder.op("CONCATENATION", [first, second], [both])
    graph = read_graph(builder.finish({"image": first}, {"result": both}), "test")
    ranges, _ = complete_ranges(graph, {both}, {"first": Range(-1.0, 2.0), "second": Range(0.0, 5.0)})
    assert ranges == {both: Range(-1.0, 5.0)}
    assert complete_ranges(graph, {both}, {"first": Range(-1.0, 2.0)}) == ({}, ("both",))


def test_other_ops_hand_no_range_on() -> None:
    graph = graph_of(("MUL", "known", "b"), ("RESIZE_NEAREST_NEIGHBOR", "b", "later"))
    wanted = {tensor.index for tensor in graph.tensors if tensor.name == "b"}
    assert complete_ranges(graph, wanted, {"known": Range(-1.0, 2.0), "later": Range(0.0, 1.0)}) == ({}, ("b",))
