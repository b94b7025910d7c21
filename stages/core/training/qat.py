"""Quantization-aware training as a refinement: a trained model goes on learning under the rounding of int8."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.detectors.build import create_variables, restore_weights
from stages.core.schemes import Variant
from stages.core.training.pruning import keep_zeros
from stages.core.training.quantizing.model import METHOD, quantize_model
from stages.core.training.refinement import read_source


@dataclass(frozen=True, kw_only=True)
class QuantizationAware:
    """A `Refinement`.

    Attributes:
      variant: `qat`, or `pruned_qat`: weights that the source has at zero stay there.
      source: Folder of the float weights.
    """

    variant: Variant
    source: Path

    @property
    def key(self) -> Mapping[str, Any]:
        """The way quantizers are placed."""
        return {"method": METHOD}

    @property
    def settled_step(self) -> int:
        """Any step's weights are a result."""
        return 0

    def change_task(self, task: Any) -> Any:
        """The task with a model that holds the source's weights, with quantizers around its layers."""
        build_float = task.build_model
        result = read_source(self.source, self.source.name)

        def build_model() -> Any:
            model = create_variables(build_float(), task.task_config.model)
            restore_weights(model, self.source / result.checkpoint)
            return quantize_model(model)

        task.build_model = build_model
        return keep_zeros(task) if self.variant is Variant.PRUNED_QAT else task

    def finish(self, model: Any) -> Any:
        """The model as it is: its quantizers' ranges are the result, as much as its weights."""
        return model
