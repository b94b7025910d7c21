"""Tiny .tflite detectors written as flatbuffers, operator by operator: no TensorFlow, a few milliseconds, and answers
that can be worked out by hand.

Each sees an 8x8 image as four quadrants of 4x4. A quadrant is an object whose class is its strongest colour channel
(0 red, 1 green, 2 blue) and whose score is that channel's mean divided by 255.
"""

from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder, flexbuffers
from stages.core.interface import SIGNATURE, ImageInput, Interface, PostProcessing, TensorOutput, write_interface
from stages.core.jsonfile import write_json
from stages.core.results import Conversion, Status
from stages.core.hashing import hash_file

SIZE = 8
QUADRANTS_YXYX = np.asarray([[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1], [0.5, 0, 1, 0.5], [0.5, 0.5, 1, 1]], np.float32)
ANCHORS = np.asarray([[0.25, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]])
TENSOR_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.uint8): schema.TensorType.UINT8,
}


class Graph:
    """One subgraph in the making; every method adds something and returns the index of its tensor."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.subgraph = schema.SubGraphT()
        self.subgraph.tensors, self.subgraph.operators = [], []

    def tensor(self, name: str, shape: tuple[int, ...], dtype: type = np.float32) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), TENSOR_TYPES[np.dtype(dtype)]
        tensor.buffer = 0
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1

    def constant(self, name: str, value: np.ndarray) -> int:
        index = self.tensor(name, value.shape, value.dtype.type)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.subgraph.tensors[index].buffer = len(self.model.buffers) - 1
        return index

    def op(self, code: str, inputs: list[int], outputs: list[int], options: tuple[str, object] | None = None) -> None:
        kind = schema.OperatorCodeT()
        kind.builtinCode = getattr(schema.BuiltinOperator, code, schema.BuiltinOperator.CUSTOM)
        kind.deprecatedBuiltinCode = min(kind.builtinCode, 127)
        kind.version = 1
        operator = schema.OperatorT()
        operator.inputs, operator.outputs = inputs, outputs
        operator.opcodeIndex = len(self.model.operatorCodes)
        if kind.builtinCode == schema.BuiltinOperator.CUSTOM:
            kind.customCode = code
            operator.customOptions = np.frombuffer(flexbuffers.Dumps(options[1]), np.uint8)
        elif options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options[0])
            operator.builtinOptions = options[1]
        self.model.operatorCodes.append(kind)
        self.subgraph.operators.append(operator)

    def finish(self, inputs: dict[str, int], outputs: dict[str, int]) -> bytes:
        self.subgraph.inputs, self.subgraph.outputs = list(inputs.values()), list(outputs.values())
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
        signature.inputs, signature.outputs = _tensor_map(inputs), _tensor_map(outputs)
        self.model.signatureDefs, self.model.subgraphs = [signature], [self.subgraph]
        builder = Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _tensor_map(names: dict[str, int]) -> list[schema.TensorMapT]:
    entries = []
    for name, index in names.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        entries.append(entry)
    return entries


def _quadrant_means(graph: Graph, image: int, gain: float) -> int:
    """[1, 4, 3]: mean of each channel in each quadrant, times gain / 255."""
    pool = schema.Pool2DOptionsT()
    pool.padding = schema.Padding.VALID
    pool.filterHeight = pool.filterWidth = pool.strideH = pool.strideW = SIZE // 2
    pooled = graph.tensor("pooled", (1, 2, 2, 3))
    graph.op("AVERAGE_POOL_2D", [image], [pooled], ("Pool2DOptions", pool))
    scaled = graph.tensor("scaled", (1, 2, 2, 3))
    graph.op("MUL", [pooled, graph.constant("gain", np.float32([gain / 255]))], [scaled], ("MulOptions", schema.MulOptionsT()))
    means = graph.tensor("means", (1, 4, 3))
    graph.op("RESHAPE", [scaled, graph.constant("to_rows", np.int32([1, 4, 3]))], [means])
    return means


def build_detector(*, gain: float = 1.0) -> bytes:
    """A detector that ends in `TFLite_Detection_PostProcess`, like MobileDet."""
    graph = Graph()
    image = graph.tensor("image", (1, SIZE, SIZE, 3))
    scores = _quadrant_means(graph, image, gain)
    outputs = {
        "detection_boxes": graph.tensor("out_boxes", (1, 4, 4)),
        "detection_classes": graph.tensor("out_classes", (1, 4)),
        "detection_scores": graph.tensor("out_scores", (1, 4)),
        "num_detections": graph.tensor("out_count", (1,)),
    }
    options = {"max_detections": 4, "max_classes_per_detection": 1, "detections_per_class": 4, "use_regular_nms": False,
               "nms_score_threshold": 0.05, "nms_iou_threshold": 0.5, "num_classes": 3,
               "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}  # fmt: skip
    encodings = graph.constant("encodings", np.zeros((1, 4, 4), np.float32))
    anchors = graph.constant("anchors", ANCHORS.astype(np.float32))
    graph.op("TFLite_Detection_PostProcess", [encodings, scores, anchors], list(outputs.values()), ("", options))
    return graph.finish({"image": image}, outputs)


def build_segmenter(*, gain: float = 1.0) -> bytes:
    """A detector with masks, built from ordinary operators, like Mask R-CNN; every mask is a full 4x4 square."""
    graph = Graph()
    image = graph.tensor("image", (1, SIZE, SIZE, 3))
    means = _quadrant_means(graph, image, gain)
    axis = graph.constant("axis", np.int32([2]))
    scores, best, classes = graph.tensor("scores", (1, 4)), graph.tensor("best", (1, 4), np.int64), graph.tensor("classes", (1, 4))
    graph.op("REDUCE_MAX", [means, axis], [scores], ("ReducerOptions", schema.ReducerOptionsT()))
    graph.op("ARG_MAX", [means, axis], [best], ("ArgMaxOptions", _options(schema.ArgMaxOptionsT(), outputType=schema.TensorType.INT64)))
    cast = _options(schema.CastOptionsT(), inDataType=schema.TensorType.INT64, outDataType=schema.TensorType.FLOAT32)
    graph.op("CAST", [best], [classes], ("CastOptions", cast))
    return graph.finish({"image": image}, {
        "detection_boxes": graph.constant("boxes", QUADRANTS_YXYX[None]),
        "detection_classes": classes,
        "detection_masks": graph.constant("masks", np.ones((1, 4, 4, 4), np.float32)),
        "detection_scores": scores,
        "num_detections": graph.constant("count", np.float32([4])),
    })  # fmt: skip


def _options(options: object, **values: int) -> object:
    for name, value in values.items():
        setattr(options, name, value)
    return options
