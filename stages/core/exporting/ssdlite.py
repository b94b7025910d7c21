"""SSDLite as one static graph: that of a RetinaNet, with the boxes put together as in published files."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from stages.core.exporting.graph import DeploymentGraph, PostProcessingSettings
from stages.core.exporting.retinanet import build_retinanet_graph


def build_ssdlite_graph(config: Any, model: Any, settings: PostProcessingSettings) -> DeploymentGraph:
    """The deployment graph of a trained SSDLite, in both forms.

    Args:
      config: `task.model` of the experiment.
      model: The model with its weights.
      settings: Post-processing.
    """
    return build_retinanet_graph(config, model, settings, join=_join_as_published)


def _join_as_published(encodings: Sequence[Any]) -> Any:
    """Box encodings of all levels: [1, A, 4], by way of [1, A, 1, 4].

    Compilers for accelerators match the ops of the TF Object Detection API's files: theirs is the extra reshape.
    """
    joined = tf.concat([tf.reshape(level, [1, -1, 1, 4]) for level in encodings], axis=1)
    return tf.reshape(joined, [1, -1, 4])
