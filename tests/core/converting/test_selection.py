from stages.core.converting.selection import Between, select_ops
from stages.core.graphs.flatbuffer import Graph, Op, Tensor

KINDS = {"ADD": Between(), "RESIZE_NEAREST_NEIGHBOR": Between()}


def chain(*ops: Op) -> Graph:
    """A graph over float tensors; tensor 0 is a stored constant, tensor 1 the input."""
    last = max(index for op in ops for index in (*op.inputs, *op.outputs))
    tensors = tuple(
        Tensor(index=i, name=f"t{i}", shape=(1, 4), dtype="float32", scales=(), zero_points=(), constant=i == 0)
        for i in range(last + 1)
    )
    return Graph(tensors=tensors, ops=ops, inputs={"image": 1}, outputs={"out": last})


def op(kind: str, inputs: tuple[int, ...], output: int) -> Op:
    return Op(kind=kind, custom=False, inputs=inputs, outputs=(output,))


def test_addition_between_convolutions_joins_and_box_arithmetic_does_not() -> None:
    first, second = op("CONV_2D", (1, 0), 2), op("CONV_2D", (2, 0), 3)
    residual = op("ADD", (2, 3), 4)
    grown = op("RESIZE_NEAREST_NEIGHBOR", (4,), 5)
    head = op("CONV_2D", (5, 0), 6)
    anchors = op("ADD", (6, 0), 7)
    graph = chain(first, second, residual, grown, head, anchors, op("EXP", (7,), 8))
    selection = select_ops(graph, KINDS)
    assert selection.layers == (first, second, head)
    assert selection.between == (residual, grown)
    assert selection.tensors(graph) == {1, 2, 3, 4, 5, 6}


def test_an_op_leaves_when_its_neighbour_does() -> None:
    first, pixels = op("CONV_2D", (1, 0), 2), op("SUB", (1, 0), 3)
    mixed = op("ADD", (2, 3), 4)
    after = op("ADD", (4, 2), 5)
    graph = chain(first, pixels, mixed, after, op("CONV_2D", (5, 0), 6))
    assert select_ops(graph, KINDS).between == ()


def test_kinds_that_are_not_listed_stay_float() -> None:
    graph = chain(op("CONV_2D", (1, 0), 2), op("HARD_SWISH", (2,), 3), op("CONV_2D", (3, 0), 4))
    assert select_ops(graph, KINDS).between == ()


def test_indices_and_weights_of_features_may_be_computed_in_float() -> None:
    """A gather of features joins though its indices come from box arithmetic; a gather of boxes does not."""
    kinds = {"GATHER": Between(data_inputs=1)}
    features, boxes = op("CONV_2D", (1, 0), 2), op("EXP", (1,), 3)
    rows = op("CAST", (3,), 4)
    crops, picked = op("GATHER", (2, 4), 5), op("GATHER", (3, 4), 6)
    graph = chain(features, boxes, rows, crops, picked, op("CONV_2D", (5, 0), 7), op("CONV_2D", (6, 0), 8))
    assert select_ops(graph, kinds).between == (crops,)
    assert select_ops(graph, {"GATHER": Between()}).between == ()


def test_some_kinds_join_only_behind_others() -> None:
    first = op("CONV_2D", (1, 0), 2)
    gathered = op("GATHER", (2, 0), 3)
    behind_gather, behind_layer = op("MUL", (3, 0), 4), op("MUL", (2, 0), 5)
    graph = chain(first, gathered, behind_gather, behind_layer, op("CONV_2D", (4, 0), 6), op("CONV_2D", (5, 0), 7))
    anywhere = {"GATHER": Between(), "MUL": Between()}
    assert select_ops(graph, anywhere).between == (gathered, behind_gather, behind_layer)
    behind = {"GATHER": Between(), "MUL": Between(after=frozenset({"GATHER"}))}
    assert select_ops(graph, behind).between == (gathered, behind_gather)
