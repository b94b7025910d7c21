"""TensorFlow functions to SavedModels and to the float32 .tflite that every TFLite scheme starts from."""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from stages.core.base.errors import ArtifactError
from stages.core.base.layout import TFLITE_FILES
from stages.core.base.plain_paths import plain_path
from stages.core.exporting.graph import DeploymentGraph
from stages.core.results.interface import SIGNATURE
from stages.core.results.kinds import Form


def save_functions(signatures: Mapping[str, Any], folder: Path) -> None:
    """Writes a SavedModel that holds just these functions (signature name to concrete function)."""
    module = tf.Module()
    # The module must own what the signatures call, or saving drops it.
    module.functions = list(signatures.values())
    with plain_path(folder.parent) as parent:
        tf.saved_model.save(module, str(parent / folder.name), signatures=dict(signatures))


def convert_functions(signatures: Mapping[str, Any]) -> bytes:
    """A float32 .tflite flatbuffer with these signatures, builtin ops and our custom op only.

    The converter goes through a SavedModel because only that keeps the names of inputs and outputs.
    """
    with tempfile.TemporaryDirectory() as folder:
        save_functions(signatures, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.allow_custom_ops = True
        level = logging.getLogger("tensorflow").level
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        try:
            content: bytes = converter.convert()
        finally:
            logging.getLogger("tensorflow").setLevel(level)
    return content


def write_tflites(graph: DeploymentGraph, folder: Path) -> None:
    """The float32 files that the TFLite schemes start from: one, or one for each form of the post-processing."""
    forms = {Form.BUILTIN: graph.detect}
    if graph.with_op is not None:
        forms[Form.POSTPROCESS_OP] = graph.with_op
    for form, function in forms.items():
        (folder / TFLITE_FILES[form]).write_bytes(convert_functions({SIGNATURE: function}))


def write_brought_tflites(graph: DeploymentGraph, folder: Path, source: Path) -> None:
    """`write_tflites`; a graph that the converter refuses is the user's to change.

    Raises:
      ArtifactError: with what the converter says of the file `source`.
    """
    try:
        write_tflites(graph, folder)
    except Exception as error:  # the converter's failures have no base in common
        text = " ".join(str(error).split())[-300:]
        raise ArtifactError(
            f"{source}: TensorFlow's converter refuses it: {text}; `python -m stages.inspect` says which ops "
            "stand in the way"
        ) from None
