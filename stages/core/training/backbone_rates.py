"""A pretrained backbone learns more slowly than what is new, or not at all at first.

Sources: Howard and Ruder, "Universal Language Model Fine-tuning" (ACL 2018): a rate for each layer, gradual unfreezing;
Clark et al., ELECTRA (ICLR 2020): one factor from layer to layer.
"""

from collections.abc import Mapping
from typing import Any


def list_stages(backbone: Any) -> list[list[Any]]:
    """Trainable variables of a functional backbone, by stage: what works at one resolution, from the image on.

    A layer that halves the resolution begins a stage.
    """
    stages: dict[tuple[int, int], list[Any]] = {}
    for layer in backbone.layers:
        if layer.trainable_variables:
            # A block that also gives what is inside of it gives its result first.
            result = layer.output[0] if isinstance(layer.output, list | tuple) else layer.output
            height, width = result.shape[1:3]
            stages.setdefault((height, width), []).extend(layer.trainable_variables)
    return list(stages.values())


def stage_factors(backbone: Any, decay: float) -> dict[Any, float]:
    """Factor on the learning rate of each variable of a backbone, by reference.

    The last stage learns by `decay` more slowly than decoder and heads, each stage before by `decay` more slowly than
    the one after it.

    Args:
      backbone: A functional Keras model with a fixed input size.
      decay: Above 0, at most 1.
    """
    stages = list_stages(backbone)
    factors = {}
    for index, variables in enumerate(stages):
        for variable in variables:
            # A mirrored variable is updated one component at a time.
            for component in getattr(variable, "values", (variable,)):
                factors[component.ref()] = decay ** (len(stages) - index)
    return factors


def scale_learning_rates(optimizer: Any, factors: Mapping[Any, float]) -> None:
    """Makes an optimizer update some variables by a share of its learning rate, weight decay included.

    Args:
      optimizer: A legacy Keras optimizer, as Model Garden's are; one that averages weights passes this on to the one
        inside. Changed in place, before its first step is traced.
      factors: By reference of the variable; what is not in it learns at the full rate.
    """
    while hasattr(optimizer, "_optimizer"):
        optimizer = optimizer._optimizer
    update = optimizer._resource_apply_dense

    def update_scaled(grad: Any, variable: Any, apply_state: Any = None) -> Any:
        factor = factors.get(variable.ref(), 1.0)
        key = (variable.device, variable.dtype.base_dtype)
        hypers = apply_state[key]
        scaled = {name: value * factor if name in ("lr_t", "lr") else value for name, value in hypers.items()}
        return update(grad, variable, apply_state={**apply_state, key: scaled} if factor != 1.0 else apply_state)

    optimizer._resource_apply_dense = update_scaled


class FrozenBackbone:
    """A backbone that keeps its weights and batch-norm statistics for the first steps, and then learns.

    Its batch norms normalize by those statistics meanwhile. The step is traced once for each of the two phases.

    Attributes:
      until: Global step from which on it learns.
      is_frozen: Whether it is kept now.
    """

    def __init__(self, trainer: Any, *, until: int) -> None:
        """Freezes the backbone of Model Garden's trainer, unless the training is past that phase.

        Args:
          trainer: With all variables of model and optimizer created, and its checkpoint restored.
          until: Global step from which on the backbone learns; 0: it always does.
        """
        self._trainer, self.until = trainer, until
        self.is_frozen = int(trainer.global_step.numpy()) < until
        if self.is_frozen:
            trainer.model.backbone.trainable = False

    def limit(self, stop: int) -> int:
        """The step to train to, so that training stops where the backbone is to learn."""
        return min(stop, self.until) if self.is_frozen else stop

    def release_if_due(self) -> bool:
        """Lets the backbone learn once its time has come; whether it has come just now."""
        if not self.is_frozen or int(self._trainer.global_step.numpy()) < self.until:
            return False
        self.is_frozen = False
        self._trainer.model.backbone.trainable = True
        self._trainer._train_loop_fn = None  # Orbit's: traced anew with the variables that now learn
        return True
