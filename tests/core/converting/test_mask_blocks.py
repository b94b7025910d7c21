"""Masks in blocks: the same outputs, and no work for rows without a detection."""

from collections.abc import Callable
from functools import cache, partial
from math import ceil
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from stages.core.base.errors import ArtifactError
from stages.core.base.layout import Layout
from stages.core.converting.mask_blocks import skip_empty_masks
from stages.core.converting.proof import prove_graph
from stages.core.converting.sparsity import read_sparsity
from stages.core.graphs.flatbuffer import OP_KINDS, pack_model, parse_model, read_constants, read_graph
from stages.core.graphs.layers import find_layers
from stages.core.results.kinds import Form
from stages.core.tables.schemes import SCHEMES
from tests.core.converting.test_recipes import TFLITE_SCHEMES, make_once, replace_stored, run, source
from tests.exported_project import EXPORT, SCHEMES_OF_TRAINED

pytestmark = pytest.mark.slow

NUM_ROWS = EXPORT["max_detections"]
MASK_SCHEMES = [name for name, row in TFLITE_SCHEMES.items() if name in SCHEMES_OF_TRAINED and row.form is Form.BUILTIN]
PIXELS = np.random.default_rng(3).integers(0, 256, (1, 128, 128, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def made(exported_project: Layout) -> Callable[[str], bytes]:
    """The tiny Mask R-CNN in a scheme, its mask head in one piece."""
    return partial(make_once, exported_project, "maskrcnn_tiny")


def kinds_of(model: Any, subgraph: int) -> list[str]:
    return [OP_KINDS[model.operatorCodes[op.opcodeIndex].builtinCode] for op in model.subgraphs[subgraph].operators]


def look(content: bytes) -> dict[str, np.ndarray]:
    """The outputs on PIXELS, in the type that the file takes."""
    graph = read_graph(content, "made")
    return run(content, PIXELS.astype(graph.tensors[graph.inputs["image"]].dtype))


@cache
def scores_of(content: bytes) -> np.ndarray:
    return look(content)["detection_scores"][0]


def keep_best(content: bytes, num: int) -> bytes:
    """The same file with a score threshold that leaves the best `num` detections of PIXELS."""
    scores = scores_of(content)
    assert len(np.unique(scores)) == len(scores) == NUM_ROWS, "the threshold must be able to tell them apart"
    edges = np.concatenate([[2.0], scores, [-1.0]])
    # The last comparison tells which candidates the last suppression may keep.
    return replace_stored(content, "GREATER", 1, float(edges[num : num + 2].mean()))


@pytest.mark.parametrize("scheme", MASK_SCHEMES)
@pytest.mark.parametrize(("num", "block"), [(0, 5), (1, 1), (5, 5), (6, 5), (NUM_ROWS, 5), (3, 2 * NUM_ROWS)])
def test_all_outputs_stay_the_same(made: Callable[[str], bytes], scheme: str, num: int, block: int) -> None:
    whole = keep_best(made(scheme), num)
    expected, found = look(whole), look(skip_empty_masks(whole, block))
    assert expected["num_detections"][0] == num
    assert bool(expected["detection_masks"].any()) == (num > 0)
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        # A kernel may add up in another order for another number of rows.
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("num", [0, 1, 5, 6, NUM_ROWS])
def test_only_blocks_with_a_detection_are_computed(made: Callable[[str], bytes], num: int) -> None:
    model = parse_model(skip_empty_masks(keep_best(made("float32"), num), 5), "cut")
    for subgraph in model.subgraphs[1:]:
        for tensor in subgraph.tensors:
            if tensor.name == b"zero":
                model.buffers[tensor.buffer].data = np.frombuffer(np.float32(7.0).tobytes(), np.uint8)
    masks = look(pack_model(model))["detection_masks"][0]
    computed = min(5 * ceil(num / 5), NUM_ROWS)
    assert (masks[:computed] <= 1).all()
    assert (masks[computed:] == 7).all()


@pytest.mark.parametrize(("block", "branches"), [(4, 2), (5, 4), (12, 2)])
def test_blocks_of_one_size_share_their_branch(made: Callable[[str], bytes], block: int, branches: int) -> None:
    whole = made("int8")
    content = skip_empty_masks(whole, block)
    model = parse_model(content, "cut")
    assert kinds_of(model, 0).count("IF") == ceil(NUM_ROWS / block)
    assert len(model.subgraphs) == 1 + branches
    # The head's weights are in the file once; what is added is the ops' descriptions.
    assert len(content) < len(whole) + 150_000


@pytest.mark.parametrize("scheme", MASK_SCHEMES)
def test_the_proof_reads_the_branches(made: Callable[[str], bytes], scheme: str) -> None:
    whole, cut = (read_graph(content, "made") for content in (made(scheme), skip_empty_masks(made(scheme), 5)))
    before, after = prove_graph(whole, SCHEMES[scheme]), prove_graph(cut, SCHEMES[scheme])
    assert after.contradictions == ()
    assert (after.macs, after.macs_by_dtype) == (before.macs, before.macs_by_dtype)
    assert (after.weights_per_channel, after.weights_per_tensor) == (
        before.weights_per_channel,
        before.weights_per_tensor,
    )
    assert sum(op.count for op in after.ops if op.op == "IF") == 3
    assert len(find_layers(cut)) > len(find_layers(whole)), "a branch is counted at each of its calls"
    assert len(cut.producers) == sum(len(op.outputs) for op in cut.ops), "every tensor is written once"
    sparsity = [read_sparsity(content) for content in (made(scheme), skip_empty_masks(made(scheme), 5))]
    assert {row.name: row.sparsity for row in sparsity[0]} == {row.name: row.sparsity for row in sparsity[1]}
    assert len(sparsity[0]) == len(sparsity[1]), "weights that branches share count once"


def test_a_written_out_graph_is_the_graph(made: Callable[[str], bytes]) -> None:
    """Every tensor that an op of a branch reads is stored, fed, or written by an op before it."""
    content = skip_empty_masks(made("int8"), 5)
    graph, constants = read_graph(content, "cut"), read_constants(content, "cut")
    known = {*graph.inputs.values(), *constants}
    for op in graph.ops:
        assert known.issuperset(index for index in op.inputs if index >= 0), op.kind
        known.update(op.outputs)
    assert all(graph.tensors[index].index == index for index in range(len(graph.tensors)))


def test_a_file_without_masks_comes_back_as_it_is(exported_project: Layout) -> None:
    content = source(exported_project, "retinanet_mobiledet_tiny").content
    assert skip_empty_masks(content, 5) is content


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("LOGISTIC", "SOFTMAX", "the op SOFTMAX may mix detections"),
        ("NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "there is no NON_MAX_SUPPRESSION_V4"),
        ("RESHAPE", "SQUEEZE", "detection_masks is not made of 12 rows"),
    ],
)
def test_a_head_that_cannot_be_cut_is_refused(made: Callable[[str], bytes], old: str, new: str, why: str) -> None:
    model = parse_model(made("float32"), "a good file")
    for code in model.operatorCodes:
        if code.builtinCode == getattr(schema.BuiltinOperator, old):
            code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, new)
    with pytest.raises(ArtifactError, match=rf"{why}; set convert\.mask_block: 0"):
        skip_empty_masks(pack_model(model), 5)


@pytest.mark.parametrize(("kind", "field", "value"), [("PACK", "axis", 0), ("STRIDED_SLICE", "beginMask", 0)])
def test_an_op_that_moves_rows_is_refused(made: Callable[[str], bytes], kind: str, field: str, value: int) -> None:
    model = parse_model(made("float32"), "a good file")
    last = max(index for index, found in enumerate(kinds_of(model, 0)) if found == kind)
    setattr(model.subgraphs[0].operators[last].builtinOptions, field, value)
    with pytest.raises(ArtifactError, match=f"the op {kind} may mix detections"):
        skip_empty_masks(pack_model(model), 5)
