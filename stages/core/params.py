"""params.yaml: the border between text and values.

Every section is a frozen pydantic model that forbids unknown keys. `load_params` turns whatever is wrong into one
`ParamsError` line that names the key and lists what is allowed.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from stages.core.detectors.table import DETECTORS
from stages.core.errors import ParamsError
from stages.core.schemes import SCHEMES

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A part of params.yaml: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SyntheticParams(Section):
    """The built-in data set: seeded scenes of textured shapes that occlude each other."""

    num_train: Positive = 800
    num_val: Positive = 200
    num_test: Annotated[int, Field(ge=0)] = 50
    size: Annotated[int, Field(ge=32, le=2048)] = 256
    """Longest side of a scene in pixels; the other side varies between 3/4 of it and all of it."""
    max_objects: Annotated[int, Field(ge=1, le=20)] = 4


class SplitParams(Section):
    """Shares of images for a source that brings no split of its own; the rest is train."""

    val: Fraction = 0.2
    test: Fraction = 0.0

    @model_validator(mode="after")
    def _leaves_train(self) -> Self:
        if self.val <= 0 or self.val + self.test >= 1:
            raise ValueError(f"val {self.val} + test {self.test}: val must be above 0 and both together below 1")
        return self


class PrepareParams(Section):
    """What `prepare` reads and how it splits, checks and writes it."""

    source: Literal["synthetic", "coco", "voc"] = "synthetic"
    path: str = "data/raw"
    """Folder of labelled images (coco, voc); relative to the project's root. Ignored by `synthetic`."""
    annotations: str | dict[Literal["train", "val", "test"], str] | None = None
    """coco: annotation JSON below `path`, or one per split. voc: nothing."""
    images: str | None = None
    """coco: folder of images below `path`; None: beside the annotations, or `images/` there."""
    split: SplitParams = SplitParams()
    seed: int = 0
    num_shards: Positive = 4
    calibration_images: Positive = 100
    max_rejected_fraction: Fraction = 0.05
    max_side: Positive = 8192
    """Images with a longer side are refused from their header, before they are decoded."""
    min_classes: Positive = 2
    """A data set with fewer classes is refused: mostly a label map gone wrong. Set 1 for a one-class detector."""
    keep_difficult: bool = True
    """voc: whether objects marked `difficult` are kept."""
    synthetic: SyntheticParams = SyntheticParams()


class AugmentationParams(Section):
    """Random changes to training images, by Model Garden's own input pipeline."""

    horizontal_flip: bool = True
    scale_min: Annotated[float, Field(gt=0, le=2)] = 0.8
    scale_max: Annotated[float, Field(gt=0, le=4)] = 1.25
    policy: Literal["none", "autoaug", "randaug"] = "none"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.scale_min > self.scale_max:
            raise ValueError(f"scale_min {self.scale_min} is above scale_max {self.scale_max}")
        return self


class AnchorParams(Section):
    """Anchor boxes per feature-map cell."""

    num_scales: Positive = 3
    aspect_ratios: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (0.5, 1.0, 2.0)
    size: Annotated[float, Field(gt=0)] = 4.0
    """Side of the base anchor in units of the level's stride."""


class TrainSettings(Section):
    """Training of one model: the knobs that people sweep. Everything else is reached through `overrides`."""

    input_size: tuple[Positive, Positive] = (256, 256)
    """(height, width) of the network's input in pixels; multiples of 64."""
    steps: Positive = 1500
    batch_size: Positive = 8
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)] = 0.02
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 4e-5
    schedule: Literal["cosine", "constant", "stepwise"] = "cosine"
    """stepwise: a tenth after 2/3 of the steps, a hundredth after 8/9."""
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    gradient_clip_norm: Annotated[float, Field(ge=0)] = 10.0
    """Global norm; 0 switches clipping off."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Exponential moving average of the weights, evaluated and kept instead of the raw ones; 0 switches it off."""
    augmentation: AugmentationParams = AugmentationParams()
    anchors: AnchorParams = AnchorParams()
    init_checkpoint: str | None = None
    """Path or URL of a TF2 checkpoint in Model Garden's layout."""
    init_modules: Annotated[tuple[Literal["all", "backbone", "decoder"], ...], Field(min_length=1)] = ("all",)
    """Which parts of the init checkpoint are used: all, or backbone and/or decoder. A single name needs no list."""
    freeze_backbone: bool = False
    seed: int = 0
    validation_interval: Positive = 500
    """Steps between evaluations on val; the best checkpoint by AP is kept."""
    checkpoint_interval: Positive = 250
    """Steps between checkpoints that a killed training resumes from."""
    early_stopping_patience: Annotated[int, Field(ge=0)] = 0
    """Evaluations without a better AP after which training stops; 0: never."""
    strategy: Literal["one_device", "mirrored", "multi_worker_mirrored", "tpu"] = "one_device"
    """tf.distribute strategy."""
    overrides: dict[str, Any] = {}
    """Tree over Model Garden's ExperimentConfig (`task`, `trainer`, `runtime`); an unknown key is an error."""

    @field_validator("init_modules", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("input_size")
    @classmethod
    def _fits_the_pyramid(cls, value: tuple[int, int]) -> tuple[int, int]:
        if any(side % 64 for side in value):
            raise ValueError(f"{list(value)}: both sides must be multiples of 64 (the coarsest feature map's stride)")
        return value


class RefineParams(Section):
    """What `prune` and `qat` share: a short training that goes on from trained weights.

    Optimizer, momentum, weight decay and strategy are those of `train`; architecture, losses and augmentation those
    that the weights were trained with.
    """

    models: tuple[str, ...] | None = None
    """Which models are trained on like this; None: all. The schemes that need it do not apply to the others."""
    steps: Positive = 400
    batch_size: Positive | None = None
    """None: as in `train.<model>`."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    schedule: Literal["cosine", "constant", "stepwise"] = "cosine"
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

    @field_validator("models")
    @classmethod
    def _models_in_the_table(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else check_names(value, "model", DETECTORS)


class QatParams(RefineParams):
    """Quantization-aware training: fine-tuning with the rounding of int8 simulated."""

    depthwise: Literal["per_channel", "per_tensor"] = "per_channel"
    """Scales of depthwise weights: one per channel, or one for all of a layer's channels."""


class PruneParams(RefineParams):
    """Magnitude pruning: fine-tuning while the smallest weights are set to zero."""

    learning_rate: Annotated[float, Field(gt=0)] = 0.01
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
    """What a block is judged by: mean or largest magnitude."""

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


class ExportParams(Section):
    """Post-processing inside the deployment graph."""

    max_detections: Annotated[int, Field(gt=0, le=300)] = 100
    score_threshold: Fraction = 0.05
    nms_iou_threshold: Fraction = 0.5
    num_proposals: Annotated[int, Field(gt=0, le=2000)] = 100
    """Mask R-CNN: regions that the box head looks at."""
    class_agnostic_nms: bool = False
    """Whether a box also suppresses weaker ones of other classes: for scenes where objects never share a place."""


class ConvertParams(Section):
    """Conversion to the schemes."""

    calibration_images: Positive = 100
    """How many of the fixed calibration list's images are used (from its front)."""
    timeout_s: Positive = 300
    """A file that does not finish one inference in a fresh process by then counts as failed."""


class ValidateParams(Section):
    """Accuracy of the shipped files."""

    split: Literal["val", "test"] = "val"
    max_seconds: Positive = 60
    """A file that would take longer on the whole split is judged on a fixed subset."""
    subset_images: Positive = 50
    """Size of that subset: a seeded draw, the same for every model and scheme."""
    agreement_score: Fraction = 0.3
    """Detections below are left out of the agreement with the float model."""
    num_threads: Positive = 2


class BenchmarkParams(Section):
    """Cost of the shipped files."""

    runs: Annotated[int, Field(ge=50)] = 50
    warmup: Positive = 5
    max_seconds: Positive = 120
    """A slow file is timed for so long, and fewer times."""
    num_threads: Positive = 2


class ReportParams(Section):
    """The report page."""

    num_pictures: Annotated[int, Field(ge=0, le=20)] = 4
    """Images drawn with ground truth, float model and each scheme side by side."""
    score_threshold: Fraction = 0.5
    """Detections below are not drawn."""


class FloorParams(Section):
    """Lowest AP in points that a row of one model may have."""

    box_ap: Annotated[float, Field(ge=0, le=100)] = 0.0
    mask_ap: Annotated[float, Field(ge=0, le=100)] = 0.0


class GateParams(Section):
    """Bounds that a row must keep to be shipped."""

    max_ap_drop: dict[str, Annotated[float, Field(ge=0, le=100)]] = {}
    """Scheme to largest fall of box or mask AP in points; a scheme not named here keeps its table's bound."""
    floors: dict[str, FloorParams] = {}
    """Model to lowest AP."""
    max_size_mb: Annotated[float, Field(gt=0)] | None = None
    max_peak_rss_mb: Annotated[float, Field(gt=0)] | None = None

    @field_validator("max_ap_drop")
    @classmethod
    def _known_schemes(cls, value: dict[str, float]) -> dict[str, float]:
        for name in value:
            check_name(name, "scheme", SCHEMES)
        return {**{name: row.max_ap_drop for name, row in SCHEMES.items()}, **value}

    @field_validator("floors")
    @classmethod
    def _known_models(cls, value: dict[str, FloorParams]) -> dict[str, FloorParams]:
        for name in value:
            check_name(name, "model", DETECTORS)
        return value


class PublishParams(Section):
    """MLflow."""

    tracking_uri: str = "sqlite:///mlflow.db"
    """A relative sqlite path is taken from the project's root. The variable MLFLOW_TRACKING_URI, when set, wins."""
    experiment: str = "detectors"
    timeout_s: Positive = 20
    """What a dead server may cost in all."""


class Params(Section):
    """The whole of params.yaml."""

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    schemes: Annotated[tuple[str, ...], Field(min_length=1)]
    prepare: PrepareParams = PrepareParams()
    train: dict[str, dict[str, Any]] = {}
    prune: PruneParams = PruneParams()
    qat: QatParams = QatParams()
    export: ExportParams = ExportParams()
    convert: ConvertParams = ConvertParams()
    validation: ValidateParams = Field(default=ValidateParams(), alias="validate")
    benchmark: BenchmarkParams = BenchmarkParams()
    report: ReportParams = ReportParams()
    gate: GateParams = GateParams(max_ap_drop={})
    publish: PublishParams = PublishParams()

    @field_validator("models")
    @classmethod
    def _models_in_the_table(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_names(value, "model", DETECTORS)

    @field_validator("schemes")
    @classmethod
    def _schemes_in_the_table(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_names(value, "scheme", SCHEMES)

    @field_validator("train")
    @classmethod
    def _train_sections(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name in value:
            check_name(name, "section", ["common", *DETECTORS])
        return value

    @model_validator(mode="after")
    def _every_training_is_valid(self) -> Self:
        for name in sorted({*self.train, *self.models} - {"common"}):
            self.train_settings(name)
        return self

    def train_settings(self, model: str) -> TrainSettings:
        """`train.common` with `train.<model>` laid over it, key by key.

        Raises:
          ParamsError: if the two together are not valid settings.
        """
        merged = merge_trees(self.train.get("common", {}), self.train.get(model, {}))
        try:
            return TrainSettings.model_validate(merged)
        except ValidationError as error:
            raise ParamsError(f"params.yaml: {explain(error, ('train', model), TrainSettings)}") from None

    def refine_settings(self, model: str, section: RefineParams) -> TrainSettings:
        """The training of `model` with the knobs of `prune` or `qat` in place of its own.

        No moving average of the weights: it would average masks and quantization ranges too.
        """
        knobs = {name: getattr(section, name) for name in RefineParams.model_fields if name != "models"}
        if section.batch_size is None:
            del knobs["batch_size"]
        return self.train_settings(model).model_copy(update={**knobs, "ema_decay": 0.0})


def merge_trees(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`: dicts merge key by key, everything else is replaced. Neither argument is changed."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge_trees(merged[key], value)
        else:
            merged[key] = value
    return merged


def check_name(name: str, kind: str, known: Any) -> None:
    """Raises ValueError naming the alternatives unless `name` is one of `known`."""
    if name not in known:
        near = difflib.get_close_matches(name, list(known), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {kind} {name!r}{hint} (known: {', '.join(known)})")


def check_names(names: tuple[str, ...], kind: str, known: Any) -> tuple[str, ...]:
    """`check_name` for each, and no name twice."""
    for name in names:
        check_name(name, kind, known)
        if names.count(name) > 1:
            raise ValueError(f"{kind} {name!r} is listed twice")
    return names


def load_params(root: Path) -> Params:
    """Reads and checks `<root>/params.yaml`.

    Raises:
      ParamsError: with one line that names the file, the key, what was found and what is allowed.
    """
    return parse_params(load_yaml(root / "params.yaml"))


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping.

    Raises:
      ParamsError: if it is missing, not YAML, or not a mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ParamsError(f"{path}: expected a mapping of sections, found {type(tree).__name__}")
    return tree


def parse_params(tree: dict[str, Any]) -> Params:
    """Checks a whole parameter tree."""
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise ParamsError(f"params.yaml: {explain(error, (), Params)}") from None


def explain(error: ValidationError, prefix: tuple[str, ...], section: type[BaseModel]) -> str:
    """The first mistake of a ValidationError as `key[2].sub: what is wrong`, with the known keys for a misspelt one."""
    first = _most_telling(error)
    loc = (*prefix, *(part for part in first["loc"] if not _is_union_branch(part)))
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    if first["type"] == "extra_forbidden":
        known = sorted(known_keys(section, first["loc"][:-1]))
        wrong = str(first["loc"][-1])
        near = difflib.get_close_matches(wrong, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{where}: unknown key{hint} (known: {', '.join(known)})"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{where}: {message}"
    return f"{where}: {message} (found {first['input']!r})"


def _is_union_branch(part: int | str) -> bool:
    """Whether a part of a pydantic location names a branch of a union or a mapping's key, not a key of params.yaml."""
    return isinstance(part, str) and (part in ("str", "[key]") or part.startswith("dict["))


def _most_telling(error: ValidationError) -> Any:
    """The first mistake; where a union was tried branch by branch, not merely that the value has another type."""
    mistakes = error.errors()
    branches = [mistake for mistake in mistakes if mistake["type"] not in ("string_type", "dict_type")]
    return (branches or mistakes)[0]


def known_keys(section: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Keys that `section` knows at a place inside it."""
    current: Any = section
    for part in loc:
        if get_origin(current) is dict:
            current = get_args(current)[1]
        elif isinstance(current, type) and issubclass(current, BaseModel):
            current = next((f.annotation for n, f in current.model_fields.items() if part in (n, f.alias)), None)
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [field.alias or name for name, field in current.model_fields.items()]
