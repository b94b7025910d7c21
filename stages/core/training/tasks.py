"""Model Garden's tasks as this project trains them: input pipeline, augmentation, losses and length of the training.

Model, metrics, evaluation and training step are Model Garden's.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras
from official.core import config_definitions as cfg
from official.vision.dataloaders import tf_example_decoder
from official.vision.tasks import maskrcnn

from stages.core.detectors.as_written import as_written
from stages.core.detectors.region_sampling import SampledMaskRCNNTask
from stages.core.detectors.retinanet_task import PlainRetinaNetTask
from stages.core.detectors.ssdlite_task import SSDLiteTask
from stages.core.detectors.training_config import MaskRCNNTraining, RetinaNetTraining, SSDLiteTraining
from stages.core.training.augmentation import augment_dataset
from stages.core.training.augmenting.patch import FITS, InputFrame
from stages.core.training.bfloat16 import differentiate_in_bfloat16
from stages.core.training.clock import ClockSchedule, TrainingLength
from stages.core.training.input_pipeline import build_training_dataset, decoded_size_mb, is_cached
from stages.core.training.losses.assigners import ASSIGNERS
from stages.core.training.losses.detection_losses import DetectionLosses
from stages.core.training.losses.mask_losses import MaskLoss
from stages.core.training.losses.roi_sampling import CrowdAwareSampler
from stages.core.training.mask_pasting import pasted_exactly
from stages.core.training.mask_targets import CentredMaskSampler
from stages.core.training.multi_scale import count_caches
from stages.core.training.parsers import maskrcnn_parser, retinanet_parser
from stages.core.training.sampling import repeat_factors
from stages.core.training.tracing import traced_as
from stages.core.training.weighting import balance_classes


def _as_written_if_plain(build_inputs: Callable[..., Any]) -> Callable[..., Any]:
    """The method without AutoGraph, unless `params` ask for what of Model Garden needs it, or for other data."""
    plain = as_written(build_inputs)

    @functools.wraps(build_inputs)
    def build(task: Any, params: Any, *args: Any, **kwargs: Any) -> Any:
        parser = params.parser
        # Its random crops and JPEG qualities branch on tensors in Python.
        branches = parser.aug_type is not None or getattr(parser, "aug_rand_jpeg", None) is not None
        return (build_inputs if branches or not _is_plain(params) else plain)(task, params, *args, **kwargs)

    return build


@dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """What a task must know of a training besides its own configuration.

    Attributes:
      annotations: Prepared COCO JSON of the train split.
      length: How long the training is.
      average_follows_clock: Whether the decay of the moving average follows a length by the clock.
      bfloat16_gradients: Whether gradients of dense convolutions are computed in bfloat16.
    """

    annotations: Path
    length: TrainingLength
    average_follows_clock: bool
    bfloat16_gradients: bool = False


class _TrainingTask:
    """What both tasks do in the same way; a mix-in before Model Garden's class."""

    setup: TrainingSetup
    task_config: Any

    def create_optimizer(self, optimizer_config: Any, runtime_config: Any = None) -> Any:
        """Model Garden's optimizer; by the clock, schedule and moving average follow the length of the training."""
        optimizer = super().create_optimizer(optimizer_config, runtime_config)  # type: ignore[misc]
        setup, schedule = self.setup, optimizer.learning_rate
        if not setup.length.by_clock:
            return optimizer
        if isinstance(schedule, tf_keras.optimizers.schedules.LearningRateSchedule):
            warmup = optimizer_config.warmup.get() if optimizer_config.warmup.type else None
            warmup_steps = warmup.warmup_steps if warmup else 0
            optimizer.learning_rate = ClockSchedule(schedule, setup.length, warmup_steps=warmup_steps)
        if setup.average_follows_clock:
            optimizer._average_decay = setup.length.average_decay
        return optimizer

    def build_model(self) -> Any:
        """Model Garden's model; gradients of its convolutions are computed as the setup says."""
        model = super().build_model()  # type: ignore[misc]
        if self.setup.bfloat16_gradients:
            differentiate_in_bfloat16(model)
        return model

    @as_written
    def train_step(self, inputs: Any, model: Any, optimizer: Any, metrics: Any = None) -> Any:
        """Model Garden's step."""
        return super().train_step(inputs, model, optimizer, metrics)  # type: ignore[misc]

    @as_written
    def validation_step(self, inputs: Any, model: Any, metrics: Any = None) -> Any:
        """Model Garden's step."""
        return super().validation_step(inputs, model, metrics)  # type: ignore[misc]

    def _build_dataset(self, params: Any, parse: Any, input_context: Any, *, with_masks: bool) -> tf.data.Dataset:
        settings = params.decoder.get()
        options = {"attribute_names": settings.attribute_names} if not with_masks else {}
        decoder = tf_example_decoder.TfExampleDecoder(
            include_mask=with_masks,
            regenerate_source_id=settings.regenerate_source_id,
            mask_binarize_threshold=settings.mask_binarize_threshold,
            **options,
        )
        config, length = self.task_config, self.setup.length
        size_mb = decoded_size_mb(self.setup.annotations, with_masks=with_masks)
        return build_training_dataset(
            params,
            decode=decoder.decode,
            augment=lambda dataset: augment_dataset(
                dataset,
                config.augmentation,
                flip=params.parser.aug_rand_hflip,
                frame=InputFrame(size=tuple(config.model.input_size[:2]), fit=FITS[config.resize]),
                share_done=length.share_done,
                seed=params.seed or 0,
            ),
            parse=parse,
            cached=is_cached(size_mb * count_caches(config.multi_scale), config.image_cache_mb),
            factors=self._factors(),
            input_context=input_context,
        )

    def _factors(self) -> dict[int, float] | None:
        config = self.task_config
        if config.sampling == "uniform":
            return None
        return repeat_factors(self.setup.annotations, threshold=config.sampling_threshold)

    def _class_weights(self) -> tuple[float, ...] | None:
        config = self.task_config
        if config.methods.class_weights == "none":
            return None
        return balance_classes(self.setup.annotations, num_classes=config.model.num_classes)


class _OneStageTask(_TrainingTask):
    """What RetinaNet and SSDLite do in the same way."""

    counts_one_more = True
    """Whether losses are divided by the number of positives plus 1, or by that number."""

    @_as_written_if_plain
    def build_inputs(self, params: Any, input_context: Any = None) -> tf.data.Dataset:
        """Batches of images and labels; those of the evaluation are Model Garden's."""
        with traced_as(self.task_config):
            if not params.is_training or not _is_plain(params):
                return super().build_inputs(params, input_context)  # type: ignore[misc]
            parse = retinanet_parser(self.task_config, params)
            return self._build_dataset(params, parse, input_context, with_masks=False)

    def build_losses(self, outputs: Any, labels: Any, aux_losses: Any = None) -> Any:
        """Total, class, box and model loss."""
        config = self.task_config
        if config.model.head.attribute_heads:  # only by `overrides`, and only Model Garden's losses know them
            return super().build_losses(outputs, labels, aux_losses)  # type: ignore[misc]
        model_loss, class_loss, box_loss = self._losses(has_objects="gt_boxes" in labels)(outputs, labels)
        total = model_loss + (tf.reduce_sum(aux_losses) if aux_losses else 0.0)
        return config.losses.loss_weight * total, class_loss, box_loss, model_loss

    def _losses(self, *, has_objects: bool) -> DetectionLosses:
        config, methods = self.task_config, self.task_config.methods
        is_huber, is_focal = methods.box == "huber", methods.classes == "focal"
        weights = config.model.detection_generator.box_coder_weights
        return DetectionLosses(
            num_classes=config.model.num_classes,
            # The evaluation's labels are Model Garden's, with targets by IoU.
            assigner="iou" if ASSIGNERS[methods.assigner].needs_predictions and not has_objects else methods.assigner,
            box_loss=methods.box,
            class_loss=methods.classes,
            box_loss_weight=config.losses.box_loss_weight if is_huber else None,
            class_weights=self._class_weights(),
            focal_alpha=config.losses.focal_loss_alpha if is_focal else None,
            focal_gamma=config.losses.focal_loss_gamma if is_focal else None,
            huber_delta=config.losses.huber_loss_delta,
            box_coder_weights=tuple(weights) if weights else None,
            counts_one_more=self.counts_one_more,
        )


class RetinaNetTrainingTask(_OneStageTask, PlainRetinaNetTask):
    """RetinaNet by `RetinaNetTraining`."""


class SSDLiteTrainingTask(_OneStageTask, SSDLiteTask):
    """SSDLite by `SSDLiteTraining`."""

    counts_one_more = False


class MaskRCNNTrainingTask(_TrainingTask, SampledMaskRCNNTask):  # type: ignore[misc]
    """Mask R-CNN by `MaskRCNNTraining`."""

    @_as_written_if_plain
    def build_inputs(self, params: Any, input_context: Any = None, dataset_fn: Any = None) -> tf.data.Dataset:
        """Batches of images and labels; those of the evaluation are Model Garden's."""
        with traced_as(self.task_config):
            if not params.is_training or not _is_plain(params) or dataset_fn is not None:
                return super().build_inputs(params, input_context, dataset_fn)
            parse = maskrcnn_parser(self.task_config, params)
            return self._build_dataset(params, parse, input_context, with_masks=self.task_config.model.include_mask)

    def build_model(self) -> Any:
        """Model Garden's model; in training, its second stage passes over crowds, and mask targets are centred."""
        model = super().build_model()
        model.roi_sampler = [CrowdAwareSampler(**sampler.get_config()) for sampler in model.roi_sampler]
        if model.mask_sampler is not None:
            model.mask_sampler = CentredMaskSampler(**model.mask_sampler.get_config())
        return model

    def build_losses(self, outputs: Any, labels: Any, aux_losses: Any = None) -> Any:
        """All losses by name; class weights, if any, enter through Model Garden's own field."""
        if weights := self._class_weights():
            self.task_config.losses.class_weights = list(weights)
        return super().build_losses(outputs, labels, aux_losses)

    def reduce_aggregated_logs(self, aggregated_logs: Any, global_step: Any = None) -> Any:
        """Model Garden's metrics, of masks that are pasted as those of files are."""
        with pasted_exactly():
            return super().reduce_aggregated_logs(aggregated_logs, global_step)

    def _build_mask_loss(self, outputs: Mapping[str, Any]) -> tf.Tensor:
        classes = outputs["mask_class_targets"]
        if self.task_config.allowed_mask_class_ids is not None:
            classes = maskrcnn.zero_out_disallowed_class_ids(classes, self.task_config.allowed_mask_class_ids)
        return MaskLoss(name=self.task_config.methods.mask)(outputs["mask_outputs"], outputs["mask_targets"], classes)


TASKS: dict[type, Callable[..., Any]] = {
    RetinaNetTraining: RetinaNetTrainingTask,
    SSDLiteTraining: SSDLiteTrainingTask,
    MaskRCNNTraining: MaskRCNNTrainingTask,
}
"""By the task's configuration."""


def build_training_task(config: cfg.ExperimentConfig, setup: TrainingSetup, *, logging_dir: Path) -> Any:
    """The task that trains `config`."""
    task = TASKS[type(config.task)](config.task, logging_dir=str(logging_dir))
    task.setup = setup
    return task


def _is_plain(params: Any) -> bool:
    """Whether the data is what `prepare` writes; `overrides` may name something else, which Model Garden then reads."""
    return params.decoder.type == "simple_decoder" and not params.tfds_name and isinstance(params.input_path, str)
