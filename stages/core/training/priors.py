"""A Mask R-CNN's classifiers start at how frequent their classes are, instead of at even odds.

At even odds every example says first of all that objects are rare. An optimizer whose steps do not depend on the size
of the gradient (Adam) then moves all weights of a classifier alike, and a short training does not make up for it.

Source: Lin et al., "Focal Loss for Dense Object Detection" (ICCV 2017), section 4.1, for a one-stage detector's.
"""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

BATCHES = 16
"""Training batches on which the share of objects among sampled anchors is measured."""


def start_at_priors(model: Any, batches: Iterable[Any], strategy: Any) -> float | None:
    """Sets the biases of the region proposal network's and the second stage's classifiers, in place.

    Args:
      model: A Model Garden detector with its initial weights; only a Mask R-CNN is changed.
      batches: Training batches (images, labels); only looked at for a Mask R-CNN.
      strategy: That gives them, a tf.distribute strategy.

    Returns:
      The share of objects among the anchors that the region proposal network learns from; None for other detectors.
    """
    if not hasattr(model, "rpn_head"):
        return None
    share = measure_object_share(itertools.islice(batches, BATCHES), strategy)
    bias = model.rpn_head._classifier.bias
    bias.assign(np.full(bias.shape, math.log(share / (1.0 - share)), np.float32))
    for head, sampler in zip(model.detection_head, model.roi_sampler, strict=True):
        objects = sampler.get_config()["foreground_fraction"]
        bias = head._classifier.bias
        # Class 0 is the background; the others share what it leaves.
        even = np.zeros(bias.shape, np.float32)
        even[0] = math.log((len(even) - 1) * (1.0 - objects) / objects)
        bias.assign(even)
    return share


def measure_object_share(batches: Iterable[Any], strategy: Any) -> float:
    """How many of the sampled anchors are to find an object, 0..1, never quite 0 or 1.

    Args:
      batches: (images, labels) with `rpn_score_targets` by level: 1 object, 0 background, -1 not sampled.
      strategy: That gives them, a tf.distribute strategy.
    """
    objects, others = 1, 1
    for _, labels in batches:
        for level in labels["rpn_score_targets"].values():
            for targets in strategy.experimental_local_results(level):
                objects += int(np.sum(targets.numpy() == 1))
                others += int(np.sum(targets.numpy() == 0))
    return objects / (objects + others)
