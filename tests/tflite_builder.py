"""Tiny .tflite detectors written as flatbuffers, operator by operator: no TensorFlow, a few milliseconds, and answers
that can be worked out by hand.

Each sees an 8x8 image as four quadrants of 4x4. A quadrant is an object whose class is its strongest colour channel
(0 red, 1 green, 2 blue) and whose score is that channel's mean divided by 255.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder, flexbuffers

from stages.core.results.interface import SIGNATURE

SIZE = 8
QUADRANTS_YXYX = np.asarray([[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1], [0.5, 0, 1, 0.5], [0.5, 0.5, 1, 1]], np.float32)
ANCHORS = np.asarray(
    [[0.25, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]], np.float32
)
TENSOR_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.bool_): schema.TensorType.BOOL,
    np.dtype(np.uint8): schema.TensorType.UINT8,
}


class Graph:
    """A model in the making; `tensor` and `constant` give the index of what they add to the newest subgraph."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes, self.model.subgraphs = [], []
        self.begin_subgraph()

    def begin_subgraph(self) -> None:
        subgraph = schema.SubGraphT()
        subgraph.tensors, subgraph.operators = [], []
        self.model.subgraphs.append(subgraph)

    def end_subgraph(self, inputs: list[int], outputs: list[int]) -> None:
        self.model.subgraphs[-1].inputs, self.model.subgraphs[-1].outputs = inputs, outputs

    def tensor(self, name: str, shape: tuple[int, ...], dtype: type = np.float32) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), TENSOR_TYPES[np.dtype(dtype)], 0
        tensors: list[Any] = self.model.subgraphs[-1].tensors
        tensors.append(tensor)
        return len(tensors) - 1

    def constant(self, name: str, value: np.ndarray) -> int:
        index = self.tensor(name, value.shape, value.dtype.type)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.model.subgraphs[-1].tensors[index].buffer = len(self.model.buffers) - 1
        return index

    def op(self, code: str, inputs: list[int], outputs: list[int], **options: Any) -> None:
        """Adds a builtin op, whose options table is named after it, or a custom one."""
        kind, operator = schema.OperatorCodeT(), schema.OperatorT()
        kind.version = 1
        kind.builtinCode = getattr(schema.BuiltinOperator, code, schema.BuiltinOperator.CUSTOM)
        kind.deprecatedBuiltinCode = min(kind.builtinCode, 127)
        operator.inputs, operator.outputs = inputs, outputs
        operator.opcodeIndex = len(self.model.operatorCodes)
        if kind.builtinCode == schema.BuiltinOperator.CUSTOM:
            kind.customCode = code
            operator.customOptions = np.frombuffer(flexbuffers.Dumps(options), np.uint8)
        else:
            name = OPTION_TABLES[code]
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = getattr(schema, f"{name}T")()
            for key, value in options.items():
                setattr(operator.builtinOptions, key, value)
        self.model.operatorCodes.append(kind)
        self.model.subgraphs[-1].operators.append(operator)

    def finish(self, inputs: dict[str, int], outputs: dict[str, int]) -> bytes:
        """The file's bytes; inputs and outputs are the first subgraph's."""
        main = self.model.subgraphs[0]
        main.inputs, main.outputs = list(inputs.values()), list(outputs.values())
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
        signature.inputs, signature.outputs = _tensor_map(inputs), _tensor_map(outputs)
        self.model.signatureDefs = [signature]
        builder = Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


OPTION_TABLES = {
    "CONV_2D": "Conv2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MUL": "MulOptions",
    "RESHAPE": "ReshapeOptions",
    "REDUCE_MAX": "ReducerOptions",
    "ARG_MAX": "ArgMaxOptions",
    "CAST": "CastOptions",
    "WHILE": "WhileOptions",
    "QUANTIZE": "QuantizeOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "CONCATENATION": "ConcatenationOptions",
    "GATHER": "GatherOptions",
}


def _tensor_map(names: dict[str, int]) -> list[Any]:
    entries = []
    for name, index in names.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        entries.append(entry)
    return entries


def _quadrant_means(graph: Graph, image: int, gain: float) -> int:
    """[1, 4, 3]: mean of each channel in each quadrant, times gain / 255."""
    half = SIZE // 2
    window = {"filterHeight": half, "filterWidth": half, "strideH": half, "strideW": half}
    pooled, scaled = graph.tensor("pooled", (1, 2, 2, 3)), graph.tensor("scaled", (1, 2, 2, 3))
    means = graph.tensor("means", (1, 4, 3))
    graph.op("AVERAGE_POOL_2D", [image], [pooled], padding=schema.Padding.VALID, **window)
    graph.op("MUL", [pooled, graph.constant("gain", np.float32([gain / 255]))], [scaled])
    graph.op("RESHAPE", [scaled, graph.constant("to_rows", np.int32([1, 4, 3]))], [means])
    return means


POST_PROCESSING = {
    "max_detections": 4,
    "max_classes_per_detection": 1,
    "detections_per_class": 4,
    "use_regular_nms": False,
    "nms_score_threshold": 0.05,
    "nms_iou_threshold": 0.5,
    "num_classes": 3,
    "y_scale": 10.0,
    "x_scale": 10.0,
    "h_scale": 5.0,
    "w_scale": 5.0,
}


def build_detector(*, gain: float = 1.0) -> bytes:
    """A detector that ends in `TFLite_Detection_PostProcess`, like MobileDet; raw heads: zeros, and the means."""
    graph = Graph()
    image = graph.tensor("image", (1, SIZE, SIZE, 3))
    scores = _quadrant_means(graph, image, gain)
    outputs = {
        "detection_boxes": graph.tensor("out_boxes", (1, 4, 4)),
        "detection_classes": graph.tensor("out_classes", (1, 4)),
        "detection_scores": graph.tensor("out_scores", (1, 4)),
        "num_detections": graph.tensor("out_count", (1,)),
    }
    encodings = graph.constant("encodings", np.zeros((1, 4, 4), np.float32))
    anchors = graph.constant("anchors", ANCHORS)
    graph.op("TFLite_Detection_PostProcess", [encodings, scores, anchors], list(outputs.values()), **POST_PROCESSING)
    return graph.finish({"image": image}, outputs)


def build_segmenter(*, gain: float = 1.0) -> bytes:
    """A detector with masks, built from ordinary ops, like Mask R-CNN; every mask fills its box."""
    graph = Graph()
    image = graph.tensor("image", (1, SIZE, SIZE, 3))
    means, axis = _quadrant_means(graph, image, gain), graph.constant("axis", np.int32([2]))
    scores, classes = graph.tensor("scores", (1, 4)), graph.tensor("classes", (1, 4))
    best = graph.tensor("best", (1, 4), np.int64)
    graph.op("REDUCE_MAX", [means, axis], [scores])
    graph.op("ARG_MAX", [means, axis], [best], outputType=schema.TensorType.INT64)
    graph.op("CAST", [best], [classes], inDataType=schema.TensorType.INT64, outDataType=schema.TensorType.FLOAT32)
    outputs = {
        "detection_boxes": graph.constant("boxes", QUADRANTS_YXYX[None]),
        "detection_classes": classes,
        "detection_masks": graph.constant("masks", np.ones((1, 4, 4, 4), np.float32)),
        "detection_scores": scores,
        "num_detections": graph.constant("count", np.float32([4])),
    }
    return graph.finish({"image": image}, outputs)


def build_foreign(outputs: dict[str, np.ndarray], scores: str) -> bytes:
    """A file of somebody else: one convolution, the score of each quadrant under the name `scores`, all else stored.

    Args:
      outputs: Name to what the file always gives, in the order of the file's outputs; the scores' is a placeholder.
    """
    graph = Graph()
    image, seen = graph.tensor("image", (1, SIZE, SIZE, 3)), graph.tensor("seen", (1, SIZE, SIZE, 3))
    kernel = graph.constant("kernel", np.eye(3, dtype=np.float32).reshape(3, 1, 1, 3))
    bias = graph.constant("bias", np.zeros(3, np.float32))
    graph.op("CONV_2D", [image, kernel, bias], [seen], strideW=1, strideH=1, padding=schema.Padding.VALID)
    means, axis = _quadrant_means(graph, seen, 1.0), graph.constant("axis", np.int32([2]))
    found = graph.tensor("found", (1, 4))
    graph.op("REDUCE_MAX", [means, axis], [found])
    results = {name: found if name == scores else graph.constant(name, value) for name, value in outputs.items()}
    return graph.finish({"image": image}, results)


def build_crasher() -> bytes:
    """A loop whose body is a loop with the same body: the runtime prepares it until its stack is full (SIGSEGV)."""
    graph, shape = Graph(), (1, SIZE, SIZE, 3)
    image, result = graph.tensor("image", shape), graph.tensor("result", shape)
    graph.op("WHILE", [image], [result], condSubgraphIndex=1, bodySubgraphIndex=2)
    graph.begin_subgraph()
    graph.end_subgraph([graph.tensor("before", shape)], [graph.constant("true", np.asarray([True]))])
    graph.begin_subgraph()
    before, after = graph.tensor("before", shape), graph.tensor("after", shape)
    graph.op("WHILE", [before], [after], condSubgraphIndex=1, bodySubgraphIndex=2)
    graph.end_subgraph([before], [after])
    return graph.finish({"image": image}, {"result": result})


def build_refused() -> bytes:
    """A file that the runtime refuses to prepare, with an error instead of a crash (a pooling stride of 0)."""
    graph = Graph()
    image, result = graph.tensor("image", (1, SIZE, SIZE, 3)), graph.tensor("result", (1, 1, 1, 3))
    graph.op("AVERAGE_POOL_2D", [image], [result], padding=schema.Padding.VALID, filterHeight=8, filterWidth=8)
    return graph.finish({"image": image}, {"result": result})
