"""The two feature maps that an SSDLite takes from its backbone, at strides 16 and 32."""

from typing import Any

import tf_keras
from official.vision.modeling.backbones.mobilenet import MNV2_BLOCK_SPECS, Conv2DBNBlock, block_spec_decoder
from official.vision.modeling.layers.nn_blocks import InvertedBottleneckBlock

from stages.core.detectors.backbone_model import build_backbone_model, input_specs

FINE, COARSE = "4", "5"


@tf_keras.utils.register_keras_serializable(package="edge_detectors")
class ExpandedBlock(InvertedBottleneckBlock):  # type: ignore[misc]
    """Model Garden's inverted bottleneck, which also gives what its expansion computes. Variables are the same."""

    def call(self, inputs: Any, training: bool | None = None) -> tuple[Any, Any]:
        """(result, expansion) of a block with an expansion and without a residual; `training` changes nothing."""
        del training
        expansion = self._activation_layer(self._norm0(self._conv0(inputs)))
        result = self._depthwise_activation_layer(self._norm1(self._conv1(expansion)))
        return self._norm2(self._conv2(result)), expansion


def build_ssd_backbone(config: Any, *, regularizer: Any = None) -> Any:
    """Normalised pixels to the maps {"4", "5"}: a functional `tf_keras.Model`.

    Of a MobileDet, C4 and C5; of MobileNetV2, the expansion of the block that first works at stride 32, and the last
    convolution (1,280 channels), as in the TF Object Detection API. Paths of variables are those in Model Garden.

    Args:
      config: `task.model` of the experiment, an `SSDLiteModel`.
      regularizer: Of the kernels.
    """
    if config.backbone.type == "mobilenet":
        return _build_mobilenet_v2(config, regularizer)
    whole = build_backbone_model(config, regularizer=regularizer)
    return _functional(whole.inputs, whole.output[FINE], whole.output[COARSE])


def _build_mobilenet_v2(config: Any, regularizer: Any) -> Any:
    specs = block_spec_decoder(MNV2_BLOCK_SPECS, config.backbone.get().filter_size_scale)
    last_stride = max(index for index, spec in enumerate(specs) if spec.strides == 2)
    shared = {
        "use_sync_bn": config.norm_activation.use_sync_bn,
        "norm_momentum": config.norm_activation.norm_momentum,
        "norm_epsilon": config.backbone_norm_epsilon,
        "kernel_regularizer": regularizer,
    }
    inputs = value = tf_keras.Input(input_specs(config).shape[1:])
    for index, spec in enumerate(specs):
        options = {"kernel_size": spec.kernel_size, "strides": spec.strides, "activation": spec.activation, **shared}
        if spec.block_fn == "convbn":
            value = Conv2DBNBlock(filters=spec.filters, **options)(value)
            continue
        kind = ExpandedBlock if index == last_stride else InvertedBottleneckBlock
        block = kind(value.shape[-1], spec.filters, expand_ratio=spec.expand_ratio, **options)
        if index == last_stride:
            value, fine = block(value)
        else:
            value = block(value)
    return _functional(inputs, fine, value)


def _functional(inputs: Any, fine: Any, coarse: Any) -> Any:
    return tf_keras.Model(inputs, {FINE: fine, COARSE: coarse}, name="backbone")
