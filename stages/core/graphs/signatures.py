"""Signatures of .tflite files: the names by which inputs and outputs are read."""

from collections.abc import Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema


def make_signature(key: str, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Any:
    """A signature of the main subgraph.

    Args:
      key: Its name.
      inputs, outputs: Name to tensor index.
    """
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = key, 0
    signature.inputs = [_entry(name, index) for name, index in inputs.items()]
    signature.outputs = [_entry(name, index) for name, index in outputs.items()]
    return signature


def _entry(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry
