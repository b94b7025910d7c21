"""Mask R-CNN with RoIAlign of several samples a cell: what Model Garden's region layers lack.

Its aligner takes one bilinear sample in the middle of each cell. The mean of n x n evenly spaced ones is RoIAlign with
a sampling ratio of n (He et al., "Mask R-CNN", ICCV 2017): a finer grid of its own samples, averaged.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras
from official.vision.configs import maskrcnn as mr
from official.vision.modeling.factory import build_maskrcnn
from official.vision.modeling.layers.roi_aligner import MultilevelROIAligner
from official.vision.tasks import maskrcnn

from stages.core.detectors.as_written import as_written
from stages.core.detectors.backbone_model import build_backbone_model, input_specs, kernel_regularizer
from stages.core.detectors.model_config import PixelsConfig


@dataclasses.dataclass
class BoxAlignerConfig(mr.ROIAligner):  # type: ignore[misc]
    """`sampling_ratio`: samples a cell along each axis."""

    sampling_ratio: int = 1


@dataclasses.dataclass
class MaskAlignerConfig(mr.MaskROIAligner):  # type: ignore[misc]
    """`sampling_ratio`: samples a cell along each axis."""

    sampling_ratio: int = 1


@dataclasses.dataclass
class SampledMaskRCNN(mr.MaskRCNN):  # type: ignore[misc]
    """A Mask R-CNN whose aligners have a sampling ratio, with what its backbone was published with."""

    roi_aligner: BoxAlignerConfig = dataclasses.field(default_factory=BoxAlignerConfig)
    mask_roi_aligner: MaskAlignerConfig | None = dataclasses.field(default_factory=MaskAlignerConfig)
    pixels: PixelsConfig = dataclasses.field(default_factory=PixelsConfig)
    backbone_norm_epsilon: float = 0.001
    backbone_repeats: bool = True


class MeanROIAligner(MultilevelROIAligner):  # type: ignore[misc]
    """Model Garden's aligner on a finer grid, and the mean of each cell's samples; it has no variables."""

    def __init__(self, crop_size: int, sampling_ratio: int, sample_offset: float = 0.5) -> None:
        """Sets cells per side, samples a cell along each axis, and where in its part of a cell a sample is, 0..1."""
        super().__init__(crop_size=crop_size * sampling_ratio, sample_offset=sample_offset)
        self._sampling_ratio = sampling_ratio

    def call(self, features: Mapping[str, Any], boxes: Any, training: bool | None = None) -> Any:
        """Features [B, N, crop_size, crop_size, channels] of boxes [B, N, 4] in input pixels."""
        samples = super().call(features, boxes, training)
        num, side, channels = samples.shape[1], samples.shape[2], samples.shape[4]
        means = tf.nn.avg_pool2d(
            tf.reshape(samples, [-1, side, side, channels]), self._sampling_ratio, self._sampling_ratio, "VALID"
        )
        return tf.reshape(means, [-1, num, *means.shape[1:3], channels])

    def get_config(self) -> dict[str, Any]:
        """What `__init__` takes."""
        config, ratio = dict(super().get_config()), self._sampling_ratio
        return {**config, "crop_size": config["crop_size"] // ratio, "sampling_ratio": ratio}


class SampledMaskRCNNTask(maskrcnn.MaskRCNNTask):  # type: ignore[misc]
    """Model Garden's task, whose models have the backbone and as many samples a cell as `SampledMaskRCNN` says."""

    @as_written
    def build_model(self) -> Any:
        """The model; with one sample a cell, all but the backbone is Model Garden's."""
        model_config, regularizer = self.task_config.model, kernel_regularizer(self.task_config)
        backbone = build_backbone_model(model_config, regularizer=regularizer)
        model = build_maskrcnn(input_specs(model_config), model_config, l2_regularizer=regularizer, backbone=backbone)
        model.backbone.trainable = not self.task_config.freeze_backbone
        # Creates the variables, as Model Garden's own `build_model` does.
        model(tf_keras.Input(model_config.input_size), image_shape=tf_keras.Input([2]), training=False)
        for name in ("roi_aligner", "mask_roi_aligner"):
            config = getattr(self.task_config.model, name)
            if getattr(model, name) is not None and config.sampling_ratio != 1:
                setattr(model, name, MeanROIAligner(config.crop_size, config.sampling_ratio, config.sample_offset))
        return model
