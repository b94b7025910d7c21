"""Batch-norm statistics measured anew at the end of a training, with the weights that are kept.

While weights change, moving averages of statistics lag behind them, and those of averaged weights are averages over
networks that never were. Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (2021), section 3, "PreciseBN":
statistics of so many training images, every layer normalizing by its batch as in training.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

Moments = tuple[Any, Any, Any]
"""Sum of the values, sum of their squares (each float64 [channels]), and how many values a channel has."""


class _Still:
    """An optimizer that changes nothing: of a training step, the graph then computes the forward pass alone."""

    def apply_gradients(self, grads_and_vars: Any, **_: Any) -> None:
        """Nothing."""
        del grads_and_vars  # AutoGraph cannot read a body that is a docstring alone


def recalibrate_batch_norms(task: Any, model: Any, batches: Iterable[Any], strategy: Any) -> int:
    """Sets moving mean and variance of every batch norm that learns to those of all values it sees in the batches.

    A frozen batch norm keeps what it has: it normalizes by that in training too.

    Args:
      task: Model Garden's; its `train_step` knows how a batch goes through the model.
      model: With the weights to keep; only moving means and variances change.
      batches: At least one, as `strategy` distributes them.
      strategy: tf.distribute strategy, in whose scope this is called.

    Returns:
      How many batch norms were measured.
    """
    layers = find_batch_norms(model)
    if not layers:
        return 0
    with _recorded(layers) as records:

        def forward(inputs: Any) -> list[Moments]:
            for record in records:
                record.clear()
            task.train_step(inputs, model=model, optimizer=_Still())
            return [_add_up(record) for record in records]

        @tf.function  # type: ignore[untyped-decorator]
        def measure(inputs: Any) -> Any:
            moments = strategy.run(forward, args=(inputs,))
            return tf.nest.map_structure(
                lambda value: strategy.reduce(tf.distribute.ReduceOp.SUM, value, None), moments
            )

        sums = [tf.nest.map_structure(lambda value: value.numpy(), measure(inputs)) for inputs in batches]
    measured = 0
    for layer, moments in zip(layers, zip(*sums, strict=True), strict=True):
        total, squares, count = (np.sum([batch[index] for batch in moments], axis=0) for index in range(3))
        if not count:
            continue  # a head that training does not use
        mean = total / count
        layer.moving_mean.assign(mean.astype(np.float32))
        layer.moving_variance.assign(np.maximum(squares / count - mean**2, 0).astype(np.float32))
        measured += 1
    return measured


def find_batch_norms(model: Any) -> list[Any]:
    """The batch norms of a model that are not frozen."""
    return [layer for layer in model.submodules if hasattr(layer, "moving_variance") and layer.trainable]


@contextmanager
def _recorded(layers: list[Any]) -> Iterator[list[list[Moments]]]:
    """Within it, whatever goes into each of the layers leaves its moments in the layer's list."""
    records: list[list[Moments]] = [[] for _ in layers]
    for layer, record in zip(layers, records, strict=True):
        layer.call = _recording(layer, record)
    try:
        yield records
    finally:
        for layer in layers:
            del layer.call


def _recording(layer: Any, record: list[Moments]) -> Any:
    original = layer.call
    axis = layer.axis[0] if isinstance(layer.axis, list | tuple) else layer.axis

    def call(inputs: Any, *arguments: Any, **options: Any) -> Any:
        record.append(_moments_of(inputs, axis))
        return original(inputs, *arguments, **options)

    return call


def _moments_of(values: Any, axis: int) -> Moments:
    others = [index for index in range(values.shape.rank) if index != axis % values.shape.rank]
    # In float32, and each around its own mean: the difference of two large sums comes only in float64.
    mean, variance = (tf.cast(part, tf.float64) for part in tf.nn.moments(tf.cast(values, tf.float32), others))
    count = tf.cast(tf.size(values), tf.float64) / tf.cast(tf.size(mean), tf.float64)
    return count * mean, count * (variance + mean**2), count


def _add_up(record: list[Moments]) -> Moments:
    """Moments over all calls of a layer in one step: heads share layers between pyramid levels."""
    if not record:
        zero = tf.zeros([], tf.float64)
        return zero, zero, zero
    total, squares, count = (tf.add_n(list(parts)) for parts in zip(*record, strict=True))
    return total, squares, count
