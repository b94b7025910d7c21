"""Model files with one thing wrong each, made out of a good one, and what must be said of them."""

from collections.abc import Callable
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

from stages.core.graphs.flatbuffer import pack_model, parse_model
from tests.tflite_builder import SIZE, Graph

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"


@dataclass(frozen=True, kw_only=True)
class BadModel:
    """One mistake.

    Attributes:
      spoil: Good file to bad one.
      convert, run: Words that name what was found and what is expected, when it is converted and when it is run.
    """

    id: str
    spoil: Callable[[bytes], bytes]
    convert: tuple[str, ...]
    run: tuple[str, ...]


def rename_op(name: str) -> Callable[[bytes], bytes]:
    """Puts a custom op of this name in place of the first builtin op's code."""

    def spoil(content: bytes) -> bytes:
        model = parse_model(content, "a good file")
        code = model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = name
        return pack_model(model)

    return spoil


def drop_ops(content: bytes) -> bytes:
    """Inputs and outputs without anything between them."""
    model = parse_model(content, "a good file")
    model.subgraphs[0].operators = []
    return pack_model(model)


def reverse_outputs(content: bytes) -> bytes:
    """The same outputs by name, in another order: a good file."""
    model = parse_model(content, "a good file")
    model.signatureDefs[0].outputs.reverse()
    model.subgraphs[0].outputs = list(reversed(model.subgraphs[0].outputs))
    return pack_model(model)


def swap_outputs(content: bytes) -> bytes:
    """Boxes under the name of scores, and scores under that of boxes."""
    model = parse_model(content, "a good file")
    by_name = {entry.name.decode(): entry for entry in model.signatureDefs[0].outputs}
    boxes, scores = by_name["detection_boxes"], by_name["detection_scores"]
    boxes.tensorIndex, scores.tensorIndex = scores.tensorIndex, boxes.tensorIndex
    return pack_model(model)


def build_classifier(content: bytes) -> bytes:
    """One probability per class, and no boxes."""
    del content
    graph, half = Graph(), SIZE
    image, result = graph.tensor("image", (1, SIZE, SIZE, 3)), graph.tensor("probabilities", (1, 1, 1, 3))
    window = {"filterHeight": half, "filterWidth": half, "strideH": half, "strideW": half}
    graph.op("AVERAGE_POOL_2D", [image], [result], padding=schema.Padding.VALID, **window)
    return graph.finish({"image": image}, {"probabilities": result})


REFUSED = ("litert refuses model.tflite",)

BAD_MODELS = (
    BadModel(
        id="flex_op",
        spoil=rename_op("FlexErf"),
        convert=("Flex ops, which no runtime here has: FlexErf",),
        run=(*REFUSED, "FlexErf"),
    ),
    BadModel(
        id="unknown_custom_op",
        spoil=rename_op("MyOp"),
        convert=("unknown custom ops MyOp", "known is TFLite_Detection_PostProcess"),
        run=(*REFUSED, "MyOp"),
    ),
    BadModel(
        id="empty_graph",
        spoil=drop_ops,
        convert=("without a graph", "expected one with ops"),
        run=("model.tflite", "without a graph", "expected one with ops"),
    ),
    BadModel(id="empty_file", spoil=lambda content: b"", convert=("empty file", "expected"), run=("empty", "expected")),
    BadModel(
        id="truncated",
        spoil=lambda content: content[: len(content) // 2],
        convert=("truncated or damaged .tflite flatbuffer",),
        run=("litert",),
    ),
    BadModel(
        id="lfs_pointer",
        spoil=lambda content: POINTER,
        convert=("Git LFS pointer", "expected", "git lfs pull"),
        run=("Git LFS pointer", "expected", "git lfs pull"),
    ),
    BadModel(
        id="another_format",
        spoil=lambda content: b"\x08\x01\x12\x00saved_model" * 9,
        convert=("not a .tflite flatbuffer", "expected"),
        run=("not a .tflite flatbuffer", "expected"),
    ),
    BadModel(
        id="classifier",
        spoil=build_classifier,
        convert=("outputs ['probabilities']", "expected ['detection_boxes'", "interface.json"),
        run=("outputs ['probabilities']", "expected ['detection_boxes'", "interface.json"),
    ),
    BadModel(
        id="swapped_outputs",
        spoil=swap_outputs,
        convert=("shapes of outputs", "'detection_boxes': (1, 4)", "expected", "'detection_boxes': (1, 4, 4)"),
        run=("detection_boxes: shape (1, 4), expected (1, 4, 4)", "interface.json"),
    ),
)
