"""THE TABLE of what stands in the way of a target, by op, and what can be done about it.

Sources: TensorFlow's list of TFLite builtins and its graph transformations; OpenVINO's list of supported TensorFlow
ops; Coral's list of ops of the Edge TPU; what was measured on frozen graphs and Mask R-CNNs of the Object Detection API
and of the matterport family.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from stages.core.base.file_kinds import FileKind
from stages.core.inspecting.findings import Obstacle

TFLITE, OPENVINO, EDGE_TPU = "TFLite builtins", "OpenVINO", "Edge TPU"
SAVED = frozenset({FileKind.SAVED_MODEL})
REPLACED = "`export` does so with any layout but raw_heads (docs/substitutions.md)"
TENSORFLOW_KINDS = frozenset({FileKind.SAVED_MODEL, FileKind.FROZEN_GRAPH})
V1_CONTROL = frozenset({"Enter", "Exit", "Merge", "Switch", "NextIteration", "LoopCond"})
CONTROL_FLOW = V1_CONTROL | {"If", "StatelessIf", "While", "StatelessWhile", "IF", "WHILE", "Loop", "TensorIterator"}
EDGE_TPU_COMPILED = "edgetpu-custom-op"
POST_PROCESS = "TFLite_Detection_PostProcess"
EDGE_TPU_OPS = frozenset({
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS", "FULLY_CONNECTED",
    "L2_NORMALIZATION", "LOGISTIC", "LSTM", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "PACK", "PAD",
    "PRELU", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SQUEEZE", "STRIDED_SLICE",
    "SUB", "SUM", "SQUARED_DIFFERENCE", "TANH", "TRANSPOSE", "TRANSPOSE_CONV", "QUANTIZE", "DEQUANTIZE",
})  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """Ops of one kind of file that one target does not take."""

    kinds: frozenset[FileKind]
    ops: frozenset[str]
    targets: tuple[str, ...]
    advice: str


def _rule(kinds: frozenset[FileKind], ops: str, targets: tuple[str, ...], advice: str) -> Rule:
    return Rule(kinds, frozenset(ops.split()), targets, advice)


TENSOR_ARRAYS = (
    "TensorArrayV3 TensorArrayReadV3 TensorArrayWriteV3 TensorArrayGatherV3 TensorArrayScatterV3 TensorArraySizeV3"
)
RULES = (
    Rule(
        TENSORFLOW_KINDS,
        V1_CONTROL | frozenset(TENSOR_ARRAYS.split()),
        (TFLITE, OPENVINO),
        "loops of TensorFlow 1: mostly pre-processing and suppression; bring the graph as frozen_graph with layout "
        "raw_heads, which cuts both off",
    ),
    _rule(
        SAVED,
        "TensorListReserve TensorListSetItem TensorListGetItem TensorListStack TensorListFromTensor While "
        "StatelessWhile",
        (TFLITE, OPENVINO),
        f"a map_fn or while_loop over elements: one of known length is written out. {REPLACED}",
    ),
    _rule(SAVED, "CropAndResize", (TFLITE,), f"no builtin: gathers and a weighted sum instead. {REPLACED}"),
    _rule(
        SAVED,
        "CombinedNonMaxSuppression NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3",
        (TFLITE,),
        f"no builtin with a fixed size: NonMaxSuppressionV4 of static length instead. {REPLACED}",
    ),
    _rule(
        SAVED,
        "DenseToDenseSetOperation SparseToDense",
        (TFLITE, OPENVINO),
        f"an intersection of index lists: comparison of all with all instead. {REPLACED}",
    ),
    _rule(
        frozenset({FileKind.FROZEN_GRAPH}),
        "CropAndResize CombinedNonMaxSuppression NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3",
        (TFLITE,),
        "no builtin: bring the graph with layout raw_heads, cut before it, or its SavedModel, in which it is replaced",
    ),
    _rule(
        TENSORFLOW_KINDS,
        "PyFunc EagerPyFunc PyFuncStateless",
        (TFLITE, OPENVINO),
        "Python code that is not in the file: no runtime has it",
    ),
    _rule(
        TENSORFLOW_KINDS,
        "DecodeJpeg DecodePng DecodeImage ParseExample ParseExampleV2 HashTableV2 LookupTableFindV2",
        (TFLITE, OPENVINO),
        "decoding of files: name a tensor behind it as input",
    ),
    _rule(
        frozenset({FileKind.TFLITE}),
        EDGE_TPU_COMPILED,
        (TFLITE, OPENVINO),
        "compiled for the Edge TPU: its layers are no longer in the file; bring the file from before edgetpu_compiler",
    ),
    _rule(
        frozenset({FileKind.TFLITE}),
        POST_PROCESS,
        (OPENVINO,),
        "a custom op that OpenVINO does not have: convert the SavedModel or frozen graph instead",
    ),
)


def find_obstacles(kind: FileKind, counts: Mapping[str, int], custom: Mapping[str, int]) -> list[Obstacle]:
    """What stands in the way, by target.

    Args:
      kind: Format of the file.
      counts: Op to number; custom: those of them that are no builtins of the format.
    """
    found = []
    for rule in RULES:
        present = {op: counts[op] for op in sorted(rule.ops) if counts.get(op) and kind in rule.kinds}
        for target in rule.targets if present else ():
            found.append(Obstacle(target=target, what=_names(present), count=sum(present.values()), advice=rule.advice))
    if kind is not FileKind.TFLITE:
        return found
    flex = {op: count for op, count in custom.items() if op.startswith("Flex")}
    other = {op: n for op, n in custom.items() if op not in flex and op not in (POST_PROCESS, EDGE_TPU_COMPILED)}
    if flex:
        advice = "needs TensorFlow's Flex delegate, which no runtime here has: convert from the SavedModel without it"
        found.append(Obstacle(target=TFLITE, what=_names(flex), count=sum(flex.values()), advice=advice))
    if other:
        advice = "custom ops of somebody's own: only a runtime built with them runs the file"
        found.append(Obstacle(target=TFLITE, what=_names(other), count=sum(other.values()), advice=advice))
    if EDGE_TPU_COMPILED not in counts:
        strange = {op: n for op, n in counts.items() if op not in EDGE_TPU_OPS and op != POST_PROCESS}
        if strange:
            advice = "not an op of the Edge TPU: it and what follows run on the CPU"
            found.append(Obstacle(target=EDGE_TPU, what=_names(strange), count=sum(strange.values()), advice=advice))
    return found


def _names(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{op} ({count})" for op, count in counts.items())
