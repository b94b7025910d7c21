"""A deployment graph's answers on one image, computed by TensorFlow."""

from typing import Any

import numpy as np
import tensorflow as tf

from stages.core.exporting.graph import DeploymentGraph


def run_graph(graph: DeploymentGraph, image: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(outputs, raw outputs) by name, with the batch dimension."""
    pixels = tf.constant(image)
    raw: dict[str, Any] = {} if graph.raw_heads is None else graph.raw_heads(pixels)
    return _to_arrays(graph.detect(pixels)), _to_arrays(raw)


def _to_arrays(tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in tensors.items()}
