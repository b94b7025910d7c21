"""Gives a finished uint8 file that ends at its heads the post-processing op, as published files of its kind have it.

The op reads uint8 boxes, scores and anchors, each with its own scale, and writes floats.
Source: tensorflow/lite/kernels/detection_postprocess.cc.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from stages.core.base.errors import ArtifactError
from stages.core.converting.editing import add_buffer, add_tensor
from stages.core.graphs.flatbuffer import indices, pack_model, parse_model, text
from stages.core.results.interface import SIGNATURE
from stages.core.running.raw_heads import POST_PROCESS

LEVELS = 255


def end_with_op(content: bytes, donor: bytes, *, image: str) -> bytes:
    """Adds the op with the anchors and settings that the float file of the same graph has, and a signature.

    Args:
      content: A .tflite file with one uint8 input and the outputs boxes [1, A, 4] and scores [1, A, C], uint8.
      donor: The float file that ends in the op.
      image: Name of the input in the signature.

    Raises:
      ArtifactError: if the donor has no such op, or the file's outputs are not uint8 boxes and scores for its anchors.
    """
    model, other = parse_model(content, "the quantized graph"), parse_model(donor, "the float graph with the op")
    given = other.subgraphs[0]
    ops = [op for op in given.operators if text(other.operatorCodes[op.opcodeIndex].customCode or "") == POST_PROCESS]
    if len(ops) != 1:
        raise ArtifactError(f"the float graph has {len(ops)} ops {POST_PROCESS}, expected 1")
    anchors = _stored_floats(other, given.tensors[indices(ops[0].inputs)[2]])
    subgraph = model.subgraphs[0]
    heads = [subgraph.tensors[index] for index in indices(subgraph.outputs)]
    _check_heads(heads, len(anchors))
    read = [*indices(subgraph.outputs), _add_anchors(model, subgraph, anchors)]
    names = {entry.tensorIndex: text(entry.name) for entry in other.signatureDefs[0].outputs}
    written = []
    for index in indices(ops[0].outputs):
        tensor = given.tensors[index]
        written.append(add_tensor(subgraph, name=names[index], shape=tensor.shape, dtype=schema.TensorType.FLOAT32))
    _append_op(model, subgraph, ops[0], read, written)
    subgraph.outputs = written
    model.signatureDefs = [
        _signature(
            {image: indices(subgraph.inputs)[0]},
            dict(zip(map(names.get, indices(ops[0].outputs)), written, strict=True)),
        )
    ]
    return pack_model(model)


def _check_heads(heads: list[Any], num_anchors: int) -> None:
    found = [(tuple(map(int, tensor.shape)), tensor.type) for tensor in heads]
    shapes = [shape for shape, _ in found]
    fits = len(found) == 2 and all(len(s) == 3 and s[:2] == (1, num_anchors) for s in shapes) and shapes[0][2] == 4
    if not fits or any(kind != schema.TensorType.UINT8 for _, kind in found):
        raise ArtifactError(
            f"the quantized graph ends in {shapes}, expected uint8 boxes [1, {num_anchors}, 4] and scores "
            f"[1, {num_anchors}, C]"
        )


def _stored_floats(model: Any, tensor: Any) -> np.ndarray:
    values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), "<f4")
    return values.reshape([int(side) for side in tensor.shape])


def _add_anchors(model: Any, subgraph: Any, anchors: np.ndarray) -> int:
    """Index of the anchors as a uint8 constant over their own range."""
    low, high = min(float(anchors.min()), 0.0), max(float(anchors.max()), 0.0)
    scale = (high - low) / LEVELS
    zero_point = round(-low / scale)
    stored = np.clip(np.rint(anchors / scale) + zero_point, 0, LEVELS).astype(np.uint8)
    index = add_tensor(
        subgraph, name="anchors", shape=anchors.shape, dtype=schema.TensorType.UINT8, buffer=add_buffer(model, stored)
    )
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = [scale], [zero_point]
    subgraph.tensors[index].quantization = quantization
    return index


def _append_op(model: Any, subgraph: Any, like: Any, read: list[int], written: list[int]) -> None:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = POST_PROCESS, 1
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = read, written
    operator.customOptions, operator.customOptionsFormat = like.customOptions, like.customOptionsFormat
    subgraph.operators.append(operator)


def _signature(inputs: dict[str, int], outputs: dict[Any, int]) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
    signature.inputs, signature.outputs = (
        [_entry(str(name), index) for name, index in named.items()] for named in (inputs, outputs)
    )
    return signature


def _entry(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry
