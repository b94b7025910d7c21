"""The section that trains: `train`."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from stages.core.params.section import Fraction, Positive, Section

Share = Annotated[float, Field(ge=0, le=1)]


SMALLEST_SIDE = 32
"""Of an input in pixels: one cell of a backbone's last map."""


def _holds_a_cell(value: tuple[int, int]) -> tuple[int, int]:
    if any(side < SMALLEST_SIDE for side in value):
        raise ValueError(f"{list(value)}: both sides must be at least {SMALLEST_SIDE}")
    return value


InputSize = Annotated[tuple[Positive, Positive], AfterValidator(_holds_a_cell)]
"""(height, width) of an input in pixels."""


class AugmentationParams(Section):
    """Random changes to training images. Sources: docs/training.md."""

    horizontal_flip: bool = True
    scale_min: Annotated[float, Field(gt=0, le=2)] = 0.8
    scale_max: Annotated[float, Field(gt=0, le=4)] = 1.25
    policy: Literal["none", "autoaug", "randaug"] = "none"
    """Model Garden's own policies."""
    orientation_free: bool = False
    """Vertical flips and quarter turns: for data without an up and down, such as images from above or a microscope."""
    color_jitter: Share = 0.0
    """Strength of random changes of brightness, contrast, saturation and hue."""
    random_crop: Share = 0.0
    """How often SSD's random crop is taken."""
    mosaic: Share = 0.0
    """How often four images are put together into one."""
    mix_up: Share = 0.0
    """How often two images are blended. Only for detectors without masks."""
    copy_paste: Share = 0.0
    """How often objects of another image are pasted in by their masks. Only for detectors with masks."""
    plain_share: Share = 0.2
    """Share of the steps, at the end, without mosaic, mix_up and copy_paste: images as they are in use."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.scale_min > self.scale_max:
            raise ValueError(f"scale_min {self.scale_min} is above scale_max {self.scale_max}")
        return self


class MultiScaleParams(Section):
    """Training at other input sizes besides `input_size`, which evaluations and files keep."""

    sizes: tuple[InputSize, ...] = ()
    """(height, width) each, in pixels. Empty: `input_size` alone."""
    order: Literal["growing", "random"] = "growing"
    """growing: by their pixels, for equal shares of the steps, then `input_size`; random: one of them, or `input_size`,
    drawn every few steps."""
    final_share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the steps, at the end, at `input_size` alone."""


class AnchorParams(Section):
    """Anchor boxes per feature-map cell."""

    num_scales: Positive = 3
    aspect_ratios: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (0.5, 1.0, 2.0)
    size: Annotated[float, Field(gt=0)] = 4.0
    """Side of the base anchor in units of the level's stride."""
    fit: bool = False
    """Find size and aspect ratios (as many as are given) that reach most of the training objects, instead of taking
    those above; `prune`, `qat` and `export` use what training found."""


class SsdAnchorParams(Section):
    """SSDLite: anchor boxes of its six maps, whose sizes are shares of the input's shorter side."""

    min_scale: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Of the first map; those between it and the last are evenly spaced."""
    max_scale: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Of the last map."""
    aspect_ratios: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (
        1.0, 2.0, 0.5, 3.0, 0.3333
    )  # fmt: skip
    between_scales: bool = True
    """One square anchor more in every cell, between its map's scale and the next."""
    fewer_on_first_map: bool = True
    """Three anchors per cell on the first map: a square of a tenth of the side, and two of `min_scale`, 2:1 and 1:2."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_scale > self.max_scale:
            raise ValueError(f"min_scale {self.min_scale:g} is above max_scale {self.max_scale:g}")
        return self


class RegionParams(Section):
    """Mask R-CNN: the regions between its two stages. None: the number that belongs to the model."""

    num_proposals: Positive | None = None
    """Regions per image that the region proposal network hands on in training, at most twice as many of each pyramid
    level."""
    test_num_proposals: Positive | None = None
    """The same in training's evaluations, and in the exported graph unless `export.num_proposals` says otherwise."""
    num_sampled_rois: Positive | None = None
    """Of the proposals, regions per image that the losses of the box head see."""
    num_sampled_masks: Positive | None = None
    """Of those, regions per image that the loss of the mask head sees."""
    box_crop_size: Annotated[int, Field(ge=1, le=56)] = 7
    """Cells per side into which RoIAlign divides a region for the box head."""
    mask_crop_size: Annotated[int, Field(ge=1, le=56)] = 14
    """The same for the mask head, whose masks have twice as many."""
    sampling_ratio: Annotated[int, Field(ge=1, le=4)] = 1
    """RoIAlign's samples per cell along each axis; their mean is the cell's value."""


class LossParams(Section):
    """What a detector is taught by; sources: docs/training.md. All but `mask` and `class_weights` are of RetinaNet."""

    assigner: Literal["iou", "atss", "task_aligned"] = "iou"
    """Which anchors are to find an object."""
    box: Literal["huber", "giou", "ciou"] = "huber"
    classes: Literal["focal", "quality_focal", "varifocal"] = "focal"
    mask: Literal["bce", "dice", "bce_dice"] = "bce"
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: classes count by the inverse square root of how often they occur among the training objects."""


def check_floor(floor: float, schedule: str) -> None:
    """Raises ValueError for a floor that no schedule would land on."""
    if floor and schedule != "cosine":
        raise ValueError(f"learning_rate_floor {floor:g} is of schedule cosine, and schedule is {schedule}")


class TrainSettings(Section):
    """Training of one model: the parameters that people sweep. Everything else is reached through `overrides`."""

    input_size: InputSize = (256, 256)
    """(height, width) of the network's input in pixels; multiples of 64, but for an SSDLite."""
    resize: Literal["letterbox", "stretch"] = "letterbox"
    """How an image becomes the input, in training and in use: letterbox: one factor for both sides, and padding;
    stretch: each side by its own factor, as MediaPipe does."""
    steps: Positive = 1500
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Train by the clock: for so many minutes of training steps, whatever `steps` says; schedule and moving average
    follow the clock. None: train for `steps`."""
    batch_size: Positive = 8
    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    momentum: Fraction = 0.9
    """sgd only."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """adamw: decoupled from the loss, without biases and batch norms; sgd: a part of the loss."""
    schedule: Literal["cosine", "constant", "stepwise"] = "cosine"
    """stepwise: a tenth after 2/3 of the steps, a hundredth after 8/9."""
    learning_rate_floor: Share = 0.0
    """cosine: where it ends, as a share of `learning_rate`."""
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    gradient_clip_norm: Annotated[float, Field(ge=0)] = 10.0
    """Global norm; 0 switches clipping off."""
    ema_decay: float | Literal["auto"] = "auto"
    """Exponential moving average of the weights, evaluated and kept instead of the raw ones; 0 switches it off.

    auto: a decay that averages over about the last quarter of the steps. The first steps do not drag either: the decay
    of step n is at most (1 + n) / (10 + n), as in `tf.train.ExponentialMovingAverage`.
    """
    multi_scale: MultiScaleParams = MultiScaleParams()
    augmentation: AugmentationParams = AugmentationParams()
    losses: LossParams = LossParams()
    anchors: AnchorParams = AnchorParams()
    ssd_anchors: SsdAnchorParams = SsdAnchorParams()
    width: Annotated[float, Field(ge=0.1, le=4)] = 1.0
    """Factor on the channels of a mobile backbone, in steps of 8 channels; a ResNet has none."""
    regions: RegionParams = RegionParams()
    sampling: Literal["uniform", "balanced"] = "uniform"
    """balanced: images that show rare classes come more often in an epoch (repeat-factor sampling)."""
    sampling_threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """balanced: classes that a smaller share of the images shows than this are repeated. None: the share of the most
    frequent class."""
    image_cache_mb: Annotated[int, Field(ge=0)] = 2000
    """Memory for decoded training images; a split that needs more, or more than half of the machine's, is decoded anew
    in every epoch. 0: never cached."""
    bfloat16_math: bool = True
    """Gradients of convolutions are computed in bfloat16 where the processor has instructions for it (AVX-512 BF16,
    AMX); all else is float32. Changes nothing elsewhere, nor in quantization-aware training."""
    init_checkpoint: str | None = None
    """Weights to start from: path, folder, archive or URL of a checkpoint of any known kind, or `zoo:<name>`."""
    init_labels: str | tuple[str, ...] | dict[Positive, str] | None = None
    """With `init_checkpoint`: what its classes are called, to carry those of the same name over: names in the order of
    their ids, id to name, or the path of a label map. None: as written beside the checkpoint, or in the zoo's table."""
    init_modules: Annotated[tuple[Literal["all", "backbone", "decoder"], ...], Field(min_length=1)] = ("all",)
    """Which parts of the init checkpoint are used: all, or backbone and/or decoder. A single name needs no list."""
    freeze_backbone: bool = False
    freeze_backbone_steps: Annotated[int, Field(ge=0)] = 0
    """With `init_checkpoint`: steps in which the backbone's weights and batch-norm statistics stay; then all learn."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """With `init_checkpoint`: factor on the learning rate from stage to stage of the backbone, from the last one to the
    first; decoder and heads learn at the full rate. 1: all do."""
    recalibrate_batch_norm: Annotated[int, Field(ge=0)] = 0
    """Batch-norm statistics are measured anew on so many training images before the last evaluation; 0: they stay the
    moving averages."""
    seed: int = 0
    validation_interval: Positive = 1000
    """Steps between evaluations on val; the best checkpoint by AP is kept."""
    checkpoint_interval: Positive = 250
    """Steps between checkpoints that a killed training resumes from."""
    early_stopping_patience: Annotated[int, Field(ge=0)] = 5
    """Evaluations without a better AP after which training stops; 0: never."""
    strategy: Literal["one_device", "mirrored", "multi_worker_mirrored", "tpu"] = "one_device"
    """tf.distribute strategy."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Tree over Model Garden's ExperimentConfig (`task`, `trainer`, `runtime`); an unknown key is an error."""

    @field_validator("init_modules", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("ema_decay", mode="before")
    @classmethod
    def _decay_or_auto(cls, value: Any) -> Any:
        is_decay = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1
        if value != "auto" and not is_decay:
            raise ValueError(f"expected `auto` or a number from 0 up to, but not including, 1 (found {value!r})")
        return value

    @field_validator("overrides")
    @classmethod
    def _anchors_from_one_source(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        tree: Any = value
        for key in ("task", "model"):
            tree = tree.get(key) if isinstance(tree, dict) else None
        # Where `anchors` itself is wrong, it is not among the data.
        if isinstance(tree, dict) and "anchor" in tree and "anchors" in info.data and info.data["anchors"].fit:
            raise ValueError("task.model.anchor is set, and anchors.fit is true; take one of them out")
        return value

    @model_validator(mode="after")
    def _floor_has_a_slope(self) -> Self:
        check_floor(self.learning_rate_floor, self.schedule)
        return self

    @model_validator(mode="after")
    def _sizes_are_others(self) -> Self:
        height, width = self.input_size
        for size in self.multi_scale.sizes:
            if size == self.input_size:
                raise ValueError(f"multi_scale.sizes: {list(size)} is input_size; name the others alone")
            if self.multi_scale.order == "growing" and size[0] * size[1] > height * width:
                raise ValueError(
                    f"multi_scale.sizes: {list(size)} has more pixels than input_size {[height, width]}, at which "
                    "order growing ends; order random takes it"
                )
        return self

    @model_validator(mode="after")
    def _backbone_learns_at_some_time(self) -> Self:
        frozen = self.freeze_backbone_steps
        if self.freeze_backbone and (frozen or self.layer_decay != 1):
            name = "freeze_backbone_steps" if frozen else "layer_decay"
            raise ValueError(f"{name} {getattr(self, name):g} has no effect with freeze_backbone true: set one of them")
        if self.max_minutes is None and frozen >= self.steps:
            advice = "freeze_backbone true freezes to the end"
            raise ValueError(f"freeze_backbone_steps {frozen} must be below steps {self.steps} ({advice})")
        return self
