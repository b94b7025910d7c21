"""Layers are found again by their weights, whatever a converter has made of names, layouts and batch norms."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from stages.core.bisecting.bisect import Bisection, has_parted, turn_back
from stages.core.bisecting.matching import match_points, plain_names
from stages.core.bisecting.points import Point, list_points
from stages.core.bisecting.showing import summarize_bisection
from stages.core.graphs.flatbuffer import Graph, Op, Tensor
from stages.core.results.validation import Parity


def point(name: str, weights: np.ndarray | None, shape: tuple[int, ...] = (1, 4, 4, 2), index: int = 0) -> Point:
    marks = () if weights is None else (weights / np.linalg.norm(weights, axis=1, keepdims=True),)
    return Point(name=name, index=index, shape=shape, marks=marks)


def test_layers_are_told_apart_by_weights_and_by_size() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 2, 27))
    reference = [point("a", one), point("b", other), point("b_again", other, (1, 2, 2, 2))]
    scales = np.asarray([[0.5], [-3.0]])  # a folded batch norm turns and stretches rows
    found = [
        point("x", other * scales, (1, 2, 2, 2)),
        point("y", other * scales, (1, 2, 4, 4)),
        point("z", one * scales + 0.01, (1, 2, 4, 4)),
        point("w", rng.normal(size=(2, 27))),
    ]
    pairs = match_points(reference, found)
    assert [(left.name, right.name) for left, right in pairs] == [("a", "z"), ("b", "y"), ("b_again", "x")]
    assert match_points([point("c", rng.normal(size=(2, 27)))], found) == ()


def test_other_tensors_are_found_by_a_single_name() -> None:
    reference = [point("PartitionedCall/StatefulPartitionedCall/heads/concat", None), point("heads/mul", None)]
    found = [point("heads/concat", None), point("heads/mul;heads/add", None)]
    assert [left.name for left, _ in match_points(reference, found)] == [reference[0].name]
    assert match_points(reference, [point("heads/concat", None, (1, 9))]) == ()
    assert len(match_points(reference, [point("heads/concat", None, (3, 4, 4, 2))], batch=3)) == 1
    assert plain_names("PartitionedCall/a/b;c") == ("a/b", "c")


def tensor(index: int, name: str, *, constant: bool = False) -> Tensor:
    shape = (3, 3, 3, 2) if constant else (1, 4, 4, 2)
    return Tensor(index=index, name=name, shape=shape, dtype="float32", scales=(), zero_points=(), constant=constant)


def test_a_layer_ends_behind_what_clips_and_shifts_it() -> None:
    names = ["image", "weights", "conv", "bias", "biased", "clipped", "sum", "best", "picked"]
    tensors = tuple(tensor(i, name, constant=name in ("weights", "bias")) for i, name in enumerate(names))
    wiring = [
        ("Conv2D", (0, 1), 2),
        ("BiasAdd", (2, 3), 4),
        ("Relu6", (4,), 5),
        ("Add", (5, 0), 6),
        ("TopKV2", (6,), 7),
        ("GatherV2", (6, 7), 8),
    ]
    steps = tuple(Op(kind=kind, custom=False, inputs=read, outputs=(out,)) for kind, read, out in wiring)
    graph = Graph(tensors=tensors, ops=steps, inputs={"image": 0}, outputs={"found": 8})
    points = list_points(graph, {1: np.ones((3, 3, 3, 2), np.float32)})
    assert [(p.name, p.index, len(p.marks), p.chosen) for p in points] == [
        ("conv", 5, 1, False),
        ("biased", 4, 0, False),
        ("sum", 6, 0, False),
        ("best", 7, 0, True),
        ("picked", 8, 0, True),
        ("found", 8, 0, True),
    ]
    assert points[0].marks[0].shape == (2, 27)


def test_turned_axes_are_turned_back() -> None:
    reference = np.random.default_rng(0).normal(size=(2, 1, 4, 4, 4))
    np.testing.assert_array_equal(turn_back(reference.transpose(0, 1, 4, 2, 3), reference), reference)
    flat = reference.reshape(2, 1, 64)
    np.testing.assert_array_equal(turn_back(flat, reference), reference)


def parity(name: str, sqnr_db: float | None, max_abs: float | None) -> Parity:
    return Parity(output=name, sqnr_db=sqnr_db, cosine=1.0, max_abs=max_abs, num_images=1)


def test_the_first_to_part_is_named() -> None:
    rows = (parity("a", 50.0, 0.1), parity("b", 20.0, 1.0), parity("c", 9.0, 2.0), parity("d", None, None))
    assert [has_parted(row, 10.0) for row in rows] == [False, False, True, True]
    assert not has_parted(parity("same", None, 0.0), 10.0)
    assert has_parted(parity("all_zero", None, 0.5), 10.0)

    def tell(chosen: tuple[bool, ...], bound: float) -> str:
        found = Bisection(
            rows=rows, layers=(True, True, True, False), chosen=chosen, min_sqnr_db=bound, reference="it", num_layers=5
        )
        return summarize_bisection(found, "m s")

    assert tell((False,) * 4, 10.0).endswith("the first with an SQNR below 10 dB: c (SQNR 9.0 dB, largest error 2)")
    assert tell((False,) * 4, 30.0).endswith("b (SQNR 20.0 dB, largest error 1)")
    behind = tell((False, False, True, True), 10.0)
    assert "3 of 5 layers and 1 other tensors compared; none has an SQNR below 10 dB before rows are chosen" in behind
    assert behind.endswith("the first is c (SQNR 9.0 dB, largest error 2)")


def test_an_ir_is_numbered_as_its_graph_is() -> None:
    from stages.core.bisecting.file_side import _outputs_of
    from stages.core.graphs.ir import model_to_graph

    image = ops.parameter([1, 2, 4, 4], np.float32, name="image")
    best = ops.topk(ops.relu(image), np.int64(2), 3, "max", "value")
    model = ov.Model([ops.add(best.output(0), np.float32(1)).output(0), best.output(1)], [image], "it")
    names = [output.get_node().get_friendly_name() for output in _outputs_of(model)]
    assert names == [tensor.name for tensor in model_to_graph(model).tensors]
