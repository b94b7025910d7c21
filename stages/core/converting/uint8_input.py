"""Gives a .tflite file with a float image input a uint8 one: what a camera delivers, a quarter of the bytes."""

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from stages.core.base.errors import ArtifactError
from stages.core.converting.editing import add_tensor, make_op
from stages.core.graphs.flatbuffer import pack_model, parse_model

TENSOR_NAME = "image_uint8"


def feed_uint8(content: bytes) -> bytes:
    """Puts a uint8 tensor of scale 1 and zero point 0 in front of the float input, and a DEQUANTIZE between.

    Pixels are whole numbers, so the values inside are the same as with float pixels; the signature's names stay.

    Raises:
      ArtifactError: if the file has not exactly one input, of float32, named by its signature.
    """
    model = parse_model(content, "the converted file")
    subgraph = model.subgraphs[0]
    inputs = list(subgraph.inputs)
    entries = [entry for signature in model.signatureDefs or [] for entry in signature.inputs]
    if len(inputs) != 1 or subgraph.tensors[inputs[0]].type != schema.TensorType.FLOAT32 or not entries:
        raise ArtifactError(f"the converted file has {len(inputs)} inputs, expected one float32 image in a signature")
    pixels = _add_pixels(subgraph, subgraph.tensors[inputs[0]])
    widen = make_op(model, schema.BuiltinOperator.DEQUANTIZE, [pixels], [int(inputs[0])])
    subgraph.operators.insert(0, widen)
    subgraph.inputs = [pixels]
    for entry in entries:
        entry.tensorIndex = pixels
    return pack_model(model)


def _add_pixels(subgraph: Any, image: Any) -> int:
    pixels = add_tensor(subgraph, name=TENSOR_NAME, shape=image.shape, dtype=schema.TensorType.UINT8)
    tensor = subgraph.tensors[pixels]
    tensor.shapeSignature = image.shapeSignature
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale, tensor.quantization.zeroPoint = [1.0], [0]
    return pixels
