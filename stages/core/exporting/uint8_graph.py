"""A frozen graph with fake-quant nodes to the uint8 file that the Object Detection API's users know: every weight and
activation on the grid that training simulated, uint8 pixels in, raw heads out.

Source: tensorflow/lite/python/lite.py (`from_frozen_graph`, `quantized_input_stats`); Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (CVPR 2018).
"""

import logging
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from stages.core.base.errors import ArtifactError
from stages.core.params.brought import BroughtModel


def why_no_uint8(model: BroughtModel) -> str:
    """Why no finished uint8 file is made; empty if one is."""
    spec = model.input
    if len(set(spec.means)) > 1 or len(set(spec.deviations)) > 1:
        return "uint8 pixels have one scale and zero point for all channels, the model has input statistics for each"
    if spec.color_order != "RGB":
        return "uint8 pixels go into the first layer as they are, and the model takes BGR"
    if not model.background:
        return "the post-processing op takes the first column of the scores for the background, the model has none"
    return ""


def convert_uint8(cut: Any, model: BroughtModel) -> bytes:
    """A .tflite file of the cut graph without signature: one uint8 input, then boxes and scores as uint8.

    Args:
      cut: GraphDef from a placeholder to the heads, with all its fake-quant nodes, also those of weights.
      model: The brought model.

    Raises:
      ArtifactError: if the converter refuses the graph, e.g. because a tensor has no range.
    """
    entry = model.input.name.partition(":")[0]
    outputs = [model.outputs[key].partition(":")[0] for key in ("boxes", "scores")]
    spec = model.input
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.pb"
        path.write_bytes(cut.SerializeToString())
        converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(
            str(path), [entry], outputs, {entry: (1, *spec.size, 3)}
        )
        converter.inference_type = tf.uint8
        # The converter's own formula: real = (stored - mean) / deviation.
        converter.quantized_input_stats = {entry: (spec.means[0], spec.deviations[0])}
        level = logging.getLogger("tensorflow").level
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        try:
            content: bytes = converter.convert()
        except Exception as error:  # the converter's failures have no base in common
            raise ArtifactError(f"the graph cannot be made uint8: {' '.join(str(error).split())[:300]}") from None
        finally:
            logging.getLogger("tensorflow").setLevel(level)
    return content
