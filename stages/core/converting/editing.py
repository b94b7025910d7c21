"""Building blocks for edits of a parsed .tflite file (`flatbuffer.parse_model`): ops, tensors and values are added, and
what nothing refers to any more is taken out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from stages.core.graphs.flatbuffer import indices

NO_BUFFER = 0
"""Position of the empty buffer, which every tensor without stored values shares."""
TYPES = {np.dtype(np.float32): schema.TensorType.FLOAT32, np.dtype(np.int32): schema.TensorType.INT32}


def ensure_opcode(model: Any, builtin: int) -> int:
    """Position of a builtin op among the model's operator codes, where it is added if it is not there yet."""
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == builtin:
            return index
    code = schema.OperatorCodeT()
    # Readers of old files look at the byte-sized field.
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, builtin, 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def make_op(model: Any, builtin: int, inputs: Sequence[int], outputs: Sequence[int], options: Any = None) -> Any:
    """An op of one version, not yet in a subgraph.

    Args:
      model: The file that it is for.
      builtin: Number in `schema.BuiltinOperator`.
      inputs, outputs: Tensor indices of the subgraph that it is for.
      options: The op's options (`schema.<Name>OptionsT`), if it has any.
    """
    operator = schema.OperatorT()
    operator.opcodeIndex = ensure_opcode(model, builtin)
    operator.inputs, operator.outputs = list(inputs), list(outputs)
    if options is not None:
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    return operator


def add_tensor(subgraph: Any, *, name: str, shape: Sequence[int], dtype: int, buffer: int = NO_BUFFER) -> int:
    """Index of a new tensor of a type in `schema.TensorType`; without a buffer it is computed."""
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.buffer = name, dtype, buffer
    tensor.shape = list(shape)
    # Without this a runtime takes a scalar for a tensor of unknown rank.
    tensor.hasRank = True
    subgraph.tensors.append(tensor)
    return len(subgraph.tensors) - 1


def add_constant(model: Any, subgraph: Any, values: np.ndarray, *, name: str) -> int:
    """Index of a new tensor with stored values, float32 or int32."""
    dtype = TYPES[values.dtype]
    return add_tensor(subgraph, name=name, shape=values.shape, dtype=dtype, buffer=add_buffer(model, values))


def add_buffer(model: Any, values: np.ndarray) -> int:
    """Position of new stored values."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def drop_unused(model: Any) -> None:
    """Takes out tensors of the main subgraph that no op and no signature refers to, and values that no tensor has."""
    subgraph = model.subgraphs[0]
    used = {index for op in subgraph.operators for index in (*indices(op.inputs), *indices(op.outputs))}
    used |= {index for op in subgraph.operators for index in indices(op.intermediates)}
    used |= {*indices(subgraph.inputs), *indices(subgraph.outputs)}
    kept = [index for index in range(len(subgraph.tensors)) if index in used]
    new = {old: position for position, old in enumerate(kept)} | {-1: -1}
    for op in subgraph.operators:
        op.inputs, op.outputs = [new[i] for i in indices(op.inputs)], [new[i] for i in indices(op.outputs)]
        op.intermediates = [new[i] for i in indices(op.intermediates)] or None
    subgraph.inputs, subgraph.outputs = [new[i] for i in subgraph.inputs], [new[i] for i in subgraph.outputs]
    subgraph.tensors = [subgraph.tensors[old] for old in kept]
    for signature in model.signatureDefs or ():
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = new[entry.tensorIndex]
    referred = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    referred |= {entry.buffer for entry in model.metadata or ()}
    for index, buffer in enumerate(model.buffers):
        if index not in referred:
            buffer.data = None
