import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from stages.core.base.layout import Layout
from stages.core.converting.contradictions import find_contradictions
from stages.core.converting.proof import prove_graph, prove_tflite, shares_box_score_scale
from stages.core.graphs.flatbuffer import Graph, Op, Tensor, read_graph
from stages.core.results.conversion import Proof
from stages.core.tables.schemes import SCHEMES, Scheme
from tests.core.converting.test_recipes import CELLS, make_once

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent / "golden"
SUMMARY = {
    # scheme: (share of MACs in int8, whether weights are quantized)
    "float32": (0.0, False),
    "float16": (0.0, False),
    "dynamic_range": (0.0, True),
    "int8": (1.0, True),
    "int8_uint8_input": (1.0, True),
    "int16x8": (0.0, True),
    "float32_postprocess_op": (0.0, False),
    "int8_postprocess_op": (1.0, True),
}


@pytest.fixture(scope="module")
def made(exported_project: Layout):  # type: ignore[no-untyped-def]
    return partial(make_once, exported_project)


def prove(content: bytes, scheme: Scheme) -> Proof:
    return prove_graph(read_graph(content, "made"), scheme)


def test_every_tflite_row_is_summed_up() -> None:
    assert set(SUMMARY) == {scheme for _, scheme in CELLS}


@pytest.mark.parametrize(("model", "scheme"), CELLS)
def test_ops_and_types_are_the_golden_ones(made, model: str, scheme: str, update_golden: bool) -> None:  # type: ignore[no-untyped-def]
    proof = prove(made(model, scheme), SCHEMES[scheme])
    assert proof.contradictions == ()
    assert proof.flex_ops == ()
    assert not proof.shared_box_score_scale
    fraction, quantized = SUMMARY[scheme]
    assert proof.int8_macs_fraction == fraction
    assert (proof.weights_per_channel > 0) == quantized
    assert proof.weights_per_tensor == 0
    found = {op.op: {"count": op.count, "on": op.activations, "weights": op.weights} for op in proof.ops}
    file = GOLDEN / f"{model}-{scheme}.json"
    if update_golden:
        file.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(file.read_text())


@pytest.mark.parametrize(
    ("scheme", "claims", "says"),
    [
        ("float32", "int8", "expected all int8"),
        ("float32", "float16", "expected all float16"),
        ("float16", "float32", "expected all float32"),
        ("dynamic_range", "int8", "0.0 % of MACs compute on int8"),
        ("int8", "float32", "int8 tensors in a float32 file"),
        ("int8", "dynamic_range", "MACs compute on float32"),
        ("int8", "int8_uint8_input", "expected one of uint8"),
        ("int8_uint8_input", "int8", "expected one of float32"),
        ("int16x8", "int8", "int16 tensors in a int8 file"),
    ],
    ids=lambda value: value.replace(" ", "_"),
)
def test_a_file_that_is_not_what_it_claims(made, scheme: str, claims: str, says: str) -> None:  # type: ignore[no-untyped-def]
    proof: Proof = prove(made("retinanet_mobiledet_tiny", scheme), SCHEMES[claims])
    assert says in "; ".join(proof.contradictions)


def test_the_proof_is_read_from_the_file(made, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    content, scheme = made("retinanet_mobiledet_tiny", "int8"), SCHEMES["int8"]
    (tmp_path / "model.tflite").write_bytes(content)
    assert prove_tflite(tmp_path / "model.tflite", scheme) == prove(content, scheme)


def test_flex_and_unknown_custom_ops_are_named() -> None:
    graph = heads(shared=False)
    strange = tuple(Op(kind=kind, custom=True, inputs=(8,), outputs=()) for kind in ("FlexErf", "MyOp"))
    graph = replace(graph, ops=(*graph.ops, *strange))
    found = "; ".join(find_contradictions(SCHEMES["int8"], graph, (), shared_box_score_scale=True))
    assert "Flex ops, which no runtime here has: FlexErf" in found
    assert "unknown custom ops MyOp" in found
    assert "share one quantization scale" in found
    assert "no convolution or fully-connected layer" in found


def heads(*, shared: bool) -> Graph:
    """Quantized boxes and scores into a suppression: out of one convolution and a split, or out of two convolutions."""

    def tensor(index: int, dtype: str) -> Tensor:
        scales = (0.1,) if dtype == "int8" else ()
        return Tensor(
            index=index, name=str(index), shape=(1, 8), dtype=dtype, scales=scales, zero_points=(), constant=False
        )

    def op(kind: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Op:
        return Op(kind=kind, custom=kind.startswith("TFLite"), inputs=inputs, outputs=outputs)

    tensors = (*(tensor(index, "int8") for index in range(5)), *(tensor(index, "float32") for index in range(5, 9)))
    convolutions = (
        (op("CONV_2D", (0,), (1,)), op("SPLIT", (1,), (2, 3)))
        if shared
        else (op("CONV_2D", (0,), (2,)), op("CONV_2D", (0,), (3,)))
    )
    ops = (
        *convolutions,
        op("DEQUANTIZE", (2,), (5,)),
        op("DEQUANTIZE", (3,), (6,)),
        op("LOGISTIC", (6,), (7,)),
        op("TFLite_Detection_PostProcess", (5, 7), (8,)),
    )
    return Graph(tensors=tensors, ops=ops, inputs={}, outputs={})


@pytest.mark.parametrize("shared", [True, False])
def test_one_scale_for_boxes_and_scores_is_found(shared: bool) -> None:
    assert shares_box_score_scale(heads(shared=shared)) == shared
