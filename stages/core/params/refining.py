"""The sections that train on: `prune` and `qat`."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from stages.core.params.names import check_names
from stages.core.params.section import Positive, Section
from stages.core.params.training import Share, check_floor
from stages.core.tables.detectors import DETECTORS


class RefineParams(Section):
    """What `prune` and `qat` share: a short training that goes on from trained weights.

    Momentum and strategy are those of `train`; architecture, losses and augmentation those that the weights were
    trained with.
    """

    models: tuple[str, ...] | None = None
    """Which models are trained on like this; None: all. The schemes that need it do not apply to the others."""
    steps: Positive = 400
    batch_size: Positive | None = None
    """None: as in `train.<model>`."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    weight_decay: Annotated[float, Field(ge=0)] = 4e-5
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    schedule: Literal["cosine", "constant", "stepwise"] = "cosine"
    learning_rate_floor: Share = 0.0
    """cosine: where it ends, as a share of `learning_rate`."""
    warmup_steps: Annotated[int, Field(ge=0)] = 20
    gradient_clip_norm: Annotated[float, Field(ge=0)] = 10.0
    """Global norm; 0 switches clipping off."""
    seed: int = 0
    validation_interval: Positive = 200
    """Steps between evaluations on val; the best checkpoint by AP is kept."""
    checkpoint_interval: Positive = 100
    """Steps between checkpoints that a killed training resumes from."""
    early_stopping_patience: Annotated[int, Field(ge=0)] = 0
    """Evaluations without a better AP after which training stops; 0: never."""

    @model_validator(mode="after")
    def _floor_has_a_slope(self) -> Self:
        check_floor(self.learning_rate_floor, self.schedule)
        return self

    @field_validator("models")
    @classmethod
    def _models_in_the_table(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else check_names(value, "model", DETECTORS)


class QatParams(RefineParams):
    """Quantization-aware training: fine-tuning with the rounding of int8 simulated."""

    steps: Positive = 100
    validation_interval: Positive = 100


class PruneParams(RefineParams):
    """Magnitude pruning: fine-tuning while the smallest weights are set to zero."""

    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    validation_interval: Positive = 400
    target_sparsity: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of zeros that every pruned kernel has in the end."""
    sparsity_schedule: Literal["polynomial", "constant"] = "polynomial"
    """polynomial: from `initial_sparsity` at `begin_step` to the target at `end_step`; constant: the target at once."""
    initial_sparsity: Annotated[float, Field(ge=0, lt=1)] = 0.0
    power: Annotated[float, Field(gt=0)] = 3.0
    """Exponent of the polynomial: the higher, the more is pruned early."""
    begin_step: Annotated[int, Field(ge=0)] = 0
    end_step: Positive = 200
    """Masks stay as they are from here on; only weights of this step or later become the result."""
    frequency: Positive = 10
    """Steps between updates of the masks."""
    layers: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Regular expressions over kernels (`backbone/layer_with_weights-7/_conv0/kernel`), searched for anywhere in their
    path; what any of them finds is pruned. None: every convolution and dense kernel that costs, i.e. all but depthwise,
    squeeze-excite, the first convolution and the heads' outputs."""
    m_by_n: tuple[Positive, Positive] | None = None
    """[2, 4]: two zeros in every four weights along the input channels. TFMOT makes these masks once, at step 1,
    whatever the schedule says."""
    block_size: tuple[Positive, Positive] | None = None
    """(rows, columns) of weights that are kept or cut together, in a kernel as a matrix [height * width * in, out]."""
    block_pooling: Literal["AVG", "MAX"] = "AVG"
    """What a block is ranked by: mean or largest magnitude."""

    @field_validator("layers")
    @classmethod
    def _regular_expressions(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for expression in value or ():
            try:
                re.compile(expression)
            except re.error as error:
                raise ValueError(f"{expression!r} is no regular expression ({error})") from None
        return value

    @model_validator(mode="after")
    def _schedule_ends(self) -> Self:
        if self.end_step <= self.begin_step:
            raise ValueError(f"end_step {self.end_step} must be above begin_step {self.begin_step}")
        if self.end_step > self.steps:
            raise ValueError(
                f"end_step {self.end_step} must be at most steps {self.steps}, or the target is not reached"
            )
        if self.sparsity_schedule == "polynomial" and self.initial_sparsity > self.target_sparsity:
            raise ValueError(
                f"initial_sparsity {self.initial_sparsity} must be at most target_sparsity {self.target_sparsity}"
            )
        return self

    @model_validator(mode="after")
    def _one_structure(self) -> Self:
        if self.m_by_n is None:
            return self
        if self.block_size is not None:
            raise ValueError(
                f"m_by_n {list(self.m_by_n)} and block_size {list(self.block_size)}: set one of them to null"
            )
        zeros, group = self.m_by_n
        if zeros >= group:
            raise ValueError(f"m_by_n {list(self.m_by_n)}: the first number must be below the second")
        if abs(self.target_sparsity - zeros / group) > 1e-6:
            raise ValueError(
                f"m_by_n {list(self.m_by_n)} makes a sparsity of {zeros / group:g}, target_sparsity is "
                f"{self.target_sparsity:g}: they must be the same"
            )
        return self
