"""Quantization-aware training as a refinement: a trained model goes on learning under the rounding of int8."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.core.detectors.build import restore_weights
from stages.core.quantizing.model import METHOD, quantize_model
from stages.core.quantizing.zeros import Masked, mask_zeros, restore_zeros
from stages.core.results.kinds import Variant
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
    _masked: Masked = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def key(self) -> Mapping[str, Any]:
        """The way quantizers are placed."""
        return {"method": METHOD}

    @property
    def settled_step(self) -> int:
        """Any step's weights are a result."""
        return 0

    def convert(self, model: Any) -> Any:
        """The source's weights, with quantizers around the layers.

        Raises:
          CheckpointError: if the source's weights cannot be read.
          TrainingError: if a layer has no quantize config.
        """
        result = read_source(self.source, self.source.name)
        restore_weights(model, self.source / result.checkpoint)
        quantize_model(model)
        if self.variant is Variant.PRUNED_QAT:
            self._masked[:] = mask_zeros(model)
        return model

    def after_step(self, model: Any, optimizer: Any) -> None:
        """Puts back the zeros of pruned weights."""
        del model
        if self._masked:
            restore_zeros(self._masked, optimizer.iterations)

    def finish(self, model: Any) -> Any:
        """The model as it is: its quantizers' ranges are the result, as much as its weights."""
        return model
