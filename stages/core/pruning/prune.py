"""Magnitude pruning while fine-tuning: TFMOT's masks and schedules on the kernels of Model Garden's detectors.

TFMOT's public `prune_low_magnitude` clones a functional model and wraps its layers. A detector is a subclassed model
whose layers are inside custom blocks, where no clone reaches (docs/decisions/0007-pruning-without-wrappers.md). So the
same engine works on the kernel variables themselves, after each optimizer step.

Source: Zhu and Gupta, "To prune, or not to prune" (2017); tensorflow_model_optimization's sparsity API.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl
from tensorflow_model_optimization.sparsity.keras import ConstantSparsity, PolynomialDecay, PruningSchedule

from stages.core.detectors.build import restore_weights
from stages.core.params.refining import PruneParams
from stages.core.pruning.kernels import Choice, Kernel, Pattern, choose_kernels, list_kernels
from stages.core.results.kinds import Variant
from stages.core.training.refinement import read_source

STATE = "pruning"
"""Attribute of the model under which masks are checkpointed while it is being pruned."""
FIRST_STEP = 1
"""Number of the first optimizer step; TFMOT makes m-by-n masks there and nowhere else."""

_LOG = logging.getLogger("absl")


class KernelPruning(pruning_impl.Pruning):  # type: ignore[misc]
    """TFMOT's engine, with blocks on convolutions too.

    TFMOT allows blocks in rank 2 only, and MobileDet has no dense layer. Here every structure is made in the kernel
    seen as a matrix [height * width * in, out]; single weights do not care.
    """

    def _validate_block(self) -> None:
        """Every rank is fine."""

    def _maybe_update_block_mask(self, weights: Any) -> tuple[Any, Any]:
        matrix = tf.reshape(weights, [-1, weights.shape[-1]])
        threshold, mask = super()._maybe_update_block_mask(matrix)
        return threshold, tf.reshape(mask, weights.shape)


class WithLastUpdate(PruningSchedule):  # type: ignore[misc]
    """A schedule that also prunes at its end step.

    TFMOT prunes every `frequency` steps from the begin on; where that does not meet the end, the target is missed.
    """

    def __init__(self, schedule: PruningSchedule, end_step: int) -> None:
        self._schedule, self._end_step = schedule, end_step

    def __call__(self, step: Any) -> tuple[Any, Any]:
        is_due, sparsity = self._schedule(step)
        return tf.logical_or(is_due, tf.equal(step, self._end_step)), sparsity

    def get_config(self) -> dict[str, Any]:
        return {"schedule": self._schedule.get_config(), "end_step": self._end_step}


SCHEDULES: Mapping[str, Callable[[PruneParams], PruningSchedule]] = {
    "polynomial": lambda params: PolynomialDecay(
        initial_sparsity=params.initial_sparsity,
        final_sparsity=params.target_sparsity,
        begin_step=params.begin_step,
        end_step=params.end_step,
        power=params.power,
        frequency=params.frequency,
    ),
    "constant": lambda params: ConstantSparsity(
        params.target_sparsity, begin_step=params.begin_step, end_step=params.end_step, frequency=params.frequency
    ),
}


def create_schedule(params: PruneParams) -> PruningSchedule:
    """TFMOT's schedule of the parameters; a callable from step to (whether masks are made anew, sparsity)."""
    return WithLastUpdate(SCHEDULES[params.sparsity_schedule](params), params.end_step)


def create_pattern(params: PruneParams) -> Pattern:
    """What one kernel must look like in the end."""
    return Pattern(sparsity=params.target_sparsity, block_size=params.block_size or (1, 1), m_by_n=params.m_by_n)


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """A `Refinement` that prunes.

    Attributes:
      source: Folder of the trained weights.
      params: What is pruned, how much and when.
    """

    source: Path
    params: PruneParams

    @property
    def variant(self) -> Variant:
        return Variant.PRUNED

    @property
    def key(self) -> Mapping[str, Any]:
        """The whole section: TFMOT's part of it is in no other configuration."""
        values: dict[str, Any] = self.params.model_dump(mode="json")
        return values

    @property
    def settled_step(self) -> int:
        """Before the end step the model has too few zeros; its AP would beat the one that is wanted."""
        return FIRST_STEP if self.params.m_by_n else self.params.end_step

    def convert(self, model: Any) -> Any:
        """The source's weights and a mask for each pruned kernel.

        Raises:
          ParamsError: if a pattern of `prune.layers` finds nothing, or nothing can be pruned.
          CheckpointError: if the source's weights cannot be read.
        """
        result = read_source(self.source, self.source.name)
        restore_weights(model, self.source / result.checkpoint)
        add_masks(model, self.choose(model))
        return model

    def after_step(self, model: Any, optimizer: Any) -> None:
        """Prunes."""
        update_masks(model, self.params, optimizer.iterations)

    def choose(self, model: Any) -> Choice:
        """Which kernels of the model are pruned, and why the others are not."""
        return choose_kernels(list_kernels(model), self.params.layers, create_pattern(self.params))

    def finish(self, model: Any) -> Any:
        """The model with exact zeros and without masks: a checkpoint of it holds what the source's holds."""
        sparsities = strip_masks(model)
        _LOG.info("pruned %d kernels to %.4f on average", len(sparsities), np.mean([*sparsities.values()]))
        for path, sparsity in sparsities.items():
            _LOG.info("  sparsity %.4f: %s", sparsity, path)
        return model


def add_masks(model: Any, choice: Choice) -> None:
    """Gives the model a mask and a threshold for each chosen kernel; its checkpoints then hold them too.

    They hang on the model as a plain trackable: Keras does not take them for weights, so no optimizer, summary or
    export sees them. To be called in the scope of the strategy.
    """
    state = tf.train.Checkpoint(
        masks={kernel.path: _create_mask(tf.ones(kernel.shape)) for kernel in choice.pruned},
        thresholds={kernel.path: _create_mask(tf.zeros([])) for kernel in choice.pruned},
    )
    setattr(model, STATE, state)
    _LOG.info("pruning %d kernels, leaving %d dense", len(choice.pruned), len(choice.dense))
    for path, reason in choice.dense.items():
        _LOG.info("  dense: %s (%s)", path, reason)


def update_masks(model: Any, params: PruneParams, step: Any) -> None:
    """Makes masks anew where the schedule says so, and sets what they cover to zero.

    For graphs and eager code, inside `strategy.run` or outside of any strategy.

    Args:
      model: With `add_masks`.
      step: Scalar integer tensor or variable: optimizer steps taken, this one included.
    """
    state = getattr(model, STATE)
    engine = KernelPruning(
        training_step_fn=lambda: step,
        pruning_vars=[
            (kernel.variable, state.masks[kernel.path], state.thresholds[kernel.path])
            for kernel in masked_kernels(model)
        ],
        pruning_schedule=create_schedule(params),
        block_size=params.block_size or (1, 1),
        block_pooling_type=params.block_pooling,
        sparsity_m_by_n=params.m_by_n,
    )
    # In this order in a graph too: both read and write the same variables.
    engine.conditional_mask_update()
    engine.weight_mask_op()


def masked_kernels(model: Any) -> tuple[Kernel, ...]:
    """The kernels that have a mask."""
    masks = getattr(model, STATE).masks
    return tuple(kernel for kernel in list_kernels(model) if kernel.path in masks)


def strip_masks(model: Any) -> dict[str, float]:
    """Sets what the masks cover to zero, once and for all, and takes the masks off.

    Returns:
      Path of each pruned kernel to its share of zeros, 0..1.
    """
    masks, sparsities = getattr(model, STATE).masks, {}
    for kernel in masked_kernels(model):
        kernel.variable.assign(kernel.variable * masks[kernel.path])
        sparsities[kernel.path] = float(np.mean(kernel.variable.numpy() == 0))
    delattr(model, STATE)
    model._delete_tracking(STATE)  # Keras's own __delattr__ leaves it in checkpoints.
    return sparsities


def _create_mask(value: Any) -> Any:
    return tf.Variable(value, trainable=False, aggregation=tf.VariableAggregation.MEAN)
