"""Backbones as published: Model Garden's, with the epsilon of the row, and one of its block tables corrected."""

from typing import Any

import tf_keras
from official.vision.modeling.backbones import factory
from official.vision.modeling.backbones.mobiledet import MobileDet

MISSING_RESIDUAL = ("MobileDetDSP", 20)
"""Row of Model Garden's block table (fused, 160 channels in and out) without a residual. The TF Object Detection API's
MobileDet, and so the published weights, add it."""


class CorrectedMobileDet(MobileDet):  # type: ignore[misc]
    """Model Garden's MobileDet with the residual that its DSP table lacks. Variables and their paths are the same."""

    _decoded_specs: list[Any]

    def __init__(self, *, repeats: bool = True, **arguments: Any) -> None:
        """Builds it; without `repeats`, blocks with a residual are left out where their output is no feature map."""
        self._repeats = repeats
        super().__init__(**arguments)

    def _mobiledet_base(self, inputs: Any) -> Any:
        model_id, row = MISSING_RESIDUAL
        if self._model_id == model_id:
            self._decoded_specs[row].use_residual = True
        if not self._repeats:
            self._decoded_specs = [block for block in self._decoded_specs if not block.use_residual or block.is_output]
        return super()._mobiledet_base(inputs)


def build_backbone_model(config: Any, *, regularizer: Any = None) -> Any:
    """The backbone of a detector: a functional `tf_keras.Model` from normalised pixels to features by level.

    Args:
      config: `task.model` of the experiment.
      regularizer: Of the kernels.
    """
    specs = input_specs(config)
    norm = config.norm_activation.replace(norm_epsilon=config.backbone_norm_epsilon)
    if config.backbone.type != "mobiledet":
        return factory.build_backbone(specs, config.backbone, norm, l2_regularizer=regularizer)
    mobiledet = config.backbone.get()
    return CorrectedMobileDet(
        repeats=config.backbone_repeats,
        model_id=mobiledet.model_id,
        filter_size_scale=mobiledet.filter_size_scale,
        input_specs=specs,
        use_sync_bn=norm.use_sync_bn,
        norm_momentum=norm.norm_momentum,
        norm_epsilon=norm.norm_epsilon,
        kernel_regularizer=regularizer,
    )


def input_specs(config: Any) -> Any:
    """The network's input: [batch, height, width, 3]. `config` is `task.model` of the experiment."""
    return tf_keras.layers.InputSpec(shape=[None, *config.input_size])


def kernel_regularizer(task_config: Any) -> Any:
    """Model Garden's: half the weight decay of the configuration, or None."""
    decay = task_config.losses.l2_weight_decay
    return tf_keras.regularizers.l2(decay / 2.0) if decay else None
