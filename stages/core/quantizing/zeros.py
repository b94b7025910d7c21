"""What was pruned stays pruned: exact zeros put back after each step of a training that starts from pruned weights."""

from typing import Any

import tensorflow as tf
from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl

from stages.core.detectors.variables import list_detector_variables

Masked = list[tuple[Any, Any, None]]
"""TFMOT's triples: weights, mask, no threshold."""


def mask_zeros(model: Any) -> Masked:
    """The zeros that a detector's weights have now, in every tensor of rank 2 or more: convolution, depthwise and
    dense kernels, wrapped or not.

    Nothing of it needs to be checkpointed: a resumed training builds from the same weights.
    """
    return [(variable, mask, None) for variable, mask in find_zeros(model)]


def restore_zeros(masked: Masked, step: Any) -> None:
    """Sets what the masks cover to zero; `step` is the optimizer's iteration counter."""
    pruning_impl.Pruning(lambda: step, masked, None, (1, 1), "AVG").weight_mask_op()


def find_zeros(model: Any) -> list[tuple[Any, Any]]:
    """Every kernel of a detector that has exact zeros, with a mask of 0 there and 1 elsewhere (a tf.Variable)."""
    kernels = [
        variable
        for variable in list_detector_variables(model).values()
        if variable.trainable and variable.shape.rank >= 2
    ]
    masks = [(variable, variable.numpy() != 0) for variable in kernels]
    return [(variable, _create_mask(mask)) for variable, mask in masks if not mask.all()]


def _create_mask(mask: Any) -> Any:
    value = tf.cast(mask, tf.float32)
    return tf.Variable(value, trainable=False, aggregation=tf.VariableAggregation.MEAN)
