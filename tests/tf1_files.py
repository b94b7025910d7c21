"""Published TF1 detectors that tests compare with: listings of checkpoints, and one frozen graph with weights."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SAMPLES = Path(os.environ.get("DETECTION_SAMPLES", "/nonexistent")) / "tfod"
needs_samples = pytest.mark.skipif(not SAMPLES.exists(), reason="DETECTION_SAMPLES is not set, or has no tfod/")
LISTINGS = {
    "ssdlite_mobiledet_cpu": "zoo_ssdlite_mobiledet_cpu_320x320_coco_2020_05_19",
    "ssdlite_mobiledet_edgetpu": "zoo_ssdlite_mobiledet_edgetpu_fp32_reexported",
}
FROZEN = SAMPLES / "frozen" / "ssdlite_mobilenetv2_pedestrian_frozen_inference_graph.pb"
FROZEN_INPUT = "Preprocessor/sub:0"
"""Pixels -1..1, float32 [N, 300, 300, 3]."""


def listed_shapes(model: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights in a published checkpoint, by name."""
    tree = json.loads((SAMPLES / "ckpt_names" / f"{LISTINGS[model]}.json").read_text())["variables"]
    return {
        name: tuple(entry["shape"])
        for name, entry in tree.items()
        if not name.endswith("/Momentum") and name != "global_step"
    }


def mapped_names(model_id: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """(TF1 name, shape) of a MobileDet's variables, by their path in Model Garden's backbone."""
    entries = json.loads((SAMPLES / "ckpt_names" / f"map_{model_id}.json").read_text())["places"]
    return {path: (entry["tf1"], tuple(entry["shape"])) for path, entry in entries.items()}


def read_frozen() -> Any:
    """The frozen graph as a `GraphDef`."""
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(FROZEN.read_bytes())
    return graph


def frozen_weights(graph: Any) -> dict[str, np.ndarray]:
    """The weights in a frozen graph, by the names that they had as variables."""
    import tensorflow as tf

    ends = ("weights", "depthwise_weights", "biases", "gamma", "beta", "moving_mean", "moving_variance")
    return {
        node.name: tf.make_ndarray(node.attr["value"].tensor)
        for node in graph.node
        if node.op == "Const" and node.name.split("/")[-1] in ends
    }


def run_frozen(graph: Any, outputs: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Values of tensors of a TF1 graph."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(graph, name="")
        return list(session.run(outputs, feed))
