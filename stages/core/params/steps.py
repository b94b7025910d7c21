"""The sections of the stages that do not train."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from stages.core.params.names import check_name
from stages.core.params.openvino import OpenvinoParams
from stages.core.params.section import Fraction, Positive, Section
from stages.core.tables.schemes import SCHEMES

MAX_SHOWN_IMAGES = 20
"""`validate` keeps a file's outputs on so many images, so that `report.num_pictures` concerns the report alone."""

MAX_AP_DROP: dict[str, float] = {
    "float32": 0.2,
    "float16": 0.2,
    "dynamic_range": 1.0,
    "int8": 2.0,
    "int8_uint8_input": 2.0,
    "int16x8": 1.0,
    "float32_postprocess_op": 4.0,
    "int8_postprocess_op": 5.0,
    "openvino_float32": 0.2,
    "openvino_float16": 0.2,
    "openvino_int8": 2.0,
    "qat_int8": 1.0,
    "qat_int8_uint8_input": 1.0,
    "qat_int8_postprocess_op": 5.0,
    "qat_uint8_postprocess_op": 5.0,
    "pruned_float32": 2.0,
    "pruned_int8": 3.0,
    "pruned_qat_int8": 3.0,
}
"""Scheme to the largest fall of box or mask AP that `gate` accepts unless params.yaml says otherwise, in points."""


class SyntheticParams(Section):
    """The built-in data set: seeded scenes of textured shapes that occlude each other."""

    num_train: Positive = 800
    num_val: Positive = 200
    num_test: Annotated[int, Field(ge=0)] = 50
    size: int | tuple[int, int] = 256
    """Longest side of a scene in pixels, the other side varies between 3/4 of it and all of it; or [height, width] of
    every scene."""
    max_objects: Annotated[int, Field(ge=1, le=20)] = 4

    @field_validator("size", mode="before")
    @classmethod
    def _one_side_or_both(cls, value: Any) -> Any:
        sides = value if isinstance(value, list | tuple) and len(value) == 2 else [value]
        if not all(type(side) is int and 32 <= side <= 2048 for side in sides):
            raise ValueError(f"expected a whole number from 32 to 2048, or [height, width] of such (found {value!r})")
        return value


class SplitParams(Section):
    """Shares of images for a source that brings no split of its own; the rest is train."""

    val: Fraction = 0.2
    """Without `folds`."""
    test: Fraction = 0.0
    folds: Annotated[int, Field(ge=2)] | None = None
    """Cross-validation: what is not test is cut into so many parts, and one of them is val."""
    fold: Annotated[int, Field(ge=0)] = 0
    """Which part is val, from 0."""

    @model_validator(mode="after")
    def _fold_is_one_of_them(self) -> Self:
        if self.folds is None and self.fold:
            raise ValueError(f"fold {self.fold} without folds: say how many there are, or set fold to 0")
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of folds {self.folds}: expected 0 to {self.folds - 1}")
        return self

    @model_validator(mode="after")
    def _leaves_train(self) -> Self:
        if self.val <= 0 or self.val + self.test >= 1:
            raise ValueError(f"val {self.val} + test {self.test}: val must be above 0 and both together below 1")
        return self


class PrepareParams(Section):
    """What `prepare` reads and how it splits, checks and writes it."""

    source: Literal["synthetic", "auto", "coco", "voc", "tfrecord", "csv", "yolo", "labelme", "via", "masks"] = (
        "synthetic"
    )
    """Format of the labelled images: docs/data-sets.md. auto: what the folder looks like, with a note."""
    path: str = "data/raw"
    """Folder of labelled images; relative to the project's root. Ignored by `synthetic`."""
    annotations: str | dict[Literal["train", "val", "test"], str] | None = None
    """coco, csv, via: file below `path`, or one per split. tfrecord: file, glob or `name@10`, or one per split. yolo:
    the YAML with names and splits. None: the only one there is."""
    images: str | None = None
    """Folder of images below `path`; None: where the format has them, or found by name."""
    label_map: str | None = None
    """tfrecord: .pbtxt below `path`; None: the only one there is, or the names in the records."""
    split: SplitParams = SplitParams()
    seed: int = 0
    num_shards: Positive = 4
    calibration_images: Positive = 100
    max_rejected_fraction: Fraction = 0.05
    max_side: Positive = 8192
    """Images with a longer side are refused from their header, before they are decoded."""
    min_classes: Positive = 2
    """A data set with fewer classes is refused: mostly a label map gone wrong. Set 1 for a one-class detector."""
    difficult: Literal["ignore", "keep", "drop"] = "ignore"
    """Objects marked `difficult` (voc) or `ignore` (coco). ignore: training passes over them and no evaluation counts
    them, as with crowds; keep: as ordinary objects; drop: as if they had not been labelled."""
    masks: Literal["auto", "require", "drop"] = "auto"
    """auto: where nearly all objects (all but `max_rejected_fraction`) have a mask, the others are rejected; else all
    masks are dropped, with a note. require: objects without a mask are rejected. drop: boxes only."""
    exif: Literal["auto", "turn", "keep"] = "auto"
    """Images whose EXIF tag says how to turn them. auto: as the annotated size shows, else rejected; turn: annotations
    are made on the turned image; keep: on the stored one."""
    min_shrunk_side: Annotated[int, Field(ge=0)] = 4
    """Images are rejected whose shorter side would have fewer pixels when the longer one shrinks to 128."""
    near_duplicate_bits: Annotated[int, Field(ge=0, le=32)] | None = None
    """Images of two splits count as alike whose 64-bit difference hashes differ in no more bits; a note and a count say
    how many there are. None: they are not compared."""
    synthetic: SyntheticParams = SyntheticParams()

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, value: Any) -> Any:
        if isinstance(value, dict) and "keep_difficult" in value:
            kept = value["keep_difficult"]
            raise ValueError(
                f"keep_difficult is now called difficult (ignore, keep or drop): instead of keep_difficult: "
                f"{str(kept).lower()} write difficult: {'keep' if kept else 'drop'}"
            )
        return value


class ExportParams(Section):
    """Post-processing inside the deployment graph, and how images come to it."""

    max_detections: Annotated[int, Field(gt=0, le=300)] = 100
    score_threshold: Fraction = 0.05
    nms_iou_threshold: Fraction = 0.5
    num_proposals: Annotated[int, Field(gt=0, le=2000)] | None = None
    """Mask R-CNN: regions that the box head looks at. None: as many as in training's evaluations
    (`train.<model>.regions.test_num_proposals`)."""
    proposal_nms_iou_threshold: Fraction | None = None
    """Overlap at which the weaker of two regions is left out; None: the model's, 0.7. With 0.5, as many regions cover
    more objects and fit each less closely."""
    proposal_pre_nms_top_k: Annotated[int, Field(gt=0, le=40_000)] | None = None
    """Mask R-CNN: suppression of regions looks at so many candidates of each pyramid level, best first. None: twice
    `train.<model>.regions.test_num_proposals`. Training's evaluations look at all."""
    pre_nms_top_k: Annotated[int, Field(gt=0, le=40_000)] = 5000
    """Suppression looks at so many candidates (a box and one of its classes), best first; Model Garden's generators
    look at so many of each class."""
    class_agnostic_nms: bool = False
    """Whether a box also suppresses weaker ones of other classes: for scenes where objects never overlap."""
    resize: Literal["as_trained", "letterbox", "stretch"] = "as_trained"
    """How images become the input wherever the files are calibrated, judged and used. stretch: what MediaPipe does to
    them, also where `train.<model>.resize` is another. A brought model's entry says it itself."""


class ConvertParams(Section):
    """Conversion to the schemes."""

    calibration_images: Positive = 100
    """How many of the fixed calibration list's images are used (from its front)."""
    timeout_s: Positive = 300
    """A file that does not finish one inference in a fresh process by then counts as failed."""
    mask_block: Annotated[int, Field(ge=0)] = 10
    """TFLite: the mask head runs on blocks of so many detections, and only on those blocks that have one; 0: always on
    all of them, for delegates that know no branches (the builtin op IF)."""
    openvino: OpenvinoParams = OpenvinoParams()


class ValidateParams(Section):
    """Accuracy of the converted files."""

    split: Literal["val", "test"] = "val"
    max_seconds: Positive = 60
    """A file that would take longer on the whole split is evaluated on a fixed subset."""
    subset_images: Positive = 50
    """Size of that subset: a seeded draw, the same for every model and scheme."""
    agreement_score: Fraction = 0.3
    """Detections below are left out of the agreement with the float model and of the confusion matrix."""
    num_threads: Positive = 2


class BenchmarkParams(Section):
    """Cost of the converted files."""

    runs: Annotated[int, Field(ge=50)] = 50
    warmup: Positive = 5
    images: Positive = 10
    """Images that are timed in turn, from the front of the evaluation split: latency may depend on what they show."""
    max_seconds: Positive = 30
    """A slow file is timed for so long, and fewer times."""
    num_threads: Positive = 2


class ReportParams(Section):
    """The report page."""

    num_pictures: Annotated[int, Field(ge=0, le=MAX_SHOWN_IMAGES)] = 4
    """Images drawn with ground truth, float model and each scheme side by side."""
    num_moved: Annotated[int, Field(ge=0, le=20)] = 20
    """Pictures per file of the images on which it is farthest from the float model; 0: none.

    At most 240 on a page, shared evenly by its files."""
    score_threshold: Fraction = 0.5
    """Detections below are not drawn."""


class FloorParams(Section):
    """Lowest AP in points that a row of one model may have."""

    box_ap: Annotated[float, Field(ge=0, le=100)] = 0.0
    mask_ap: Annotated[float, Field(ge=0, le=100)] = 0.0


class GateParams(Section):
    """Bounds that a row must keep to be shipped."""

    max_ap_drop: dict[str, Annotated[float, Field(ge=0, le=100)]] = Field(default_factory=lambda: dict(MAX_AP_DROP))
    """Scheme to largest fall of box or mask AP in points; a scheme not named here keeps the bound of MAX_AP_DROP."""
    floors: dict[str, FloorParams] = Field(default_factory=dict)
    """Model to lowest AP. Which models there are is checked with the whole of params.yaml."""
    max_export_drop: Annotated[float, Field(ge=0, le=100)] | None = None
    """Largest fall from the AP that `train` measured, with Model Garden's own post-processing, to that of the float
    model under the exported one, in points. None: no bound. Judged where both are on the whole of val."""
    max_class_ap_drop: Annotated[float, Field(ge=0, le=100)] | None = None
    """Largest fall of any single class's box or mask AP, in points. None: no bound; AP of a class with a few objects
    moves by points for one of them."""
    unsure: Literal["by_number", "fail", "pass"] = "by_number"
    """What a row counts as whose bound lies within the 95 % interval of the number, so that other images could say
    otherwise. by_number: the measured number decides, so a row is red if that is beyond the bound; fail: red until more
    images show that the bound is kept; pass: red only where it is broken beyond noise."""
    allow_zero_ap: bool = False
    """Whether a row may pass whose file, or whose float model, has an AP of 0.0: for runs that test the chain."""
    max_size_mb: Annotated[float, Field(gt=0)] | None = None
    max_peak_rss_mb: Annotated[float, Field(gt=0)] | None = None

    @field_validator("max_ap_drop")
    @classmethod
    def _known_schemes(cls, value: dict[str, float]) -> dict[str, float]:
        for name in value:
            check_name(name, "scheme", SCHEMES)
        return {**MAX_AP_DROP, **value}


class PublishParams(Section):
    """MLflow."""

    tracking_uri: str = "sqlite:///mlflow.db"
    """A relative sqlite path is taken from the project's root. The variable MLFLOW_TRACKING_URI, when set, wins."""
    experiment: Annotated[str, Field(max_length=500)] = "detectors"
    """Name of the MLflow experiment."""
    timeout_s: Positive = 20
    """What a dead server may cost in all."""
    stream: bool = True
    """Whether `make repro` sends training curves while training runs. A process of its own does, at low priority, and
    only once there is something to send; a store that does not answer costs a warning."""
    system_metrics: bool = False
    """Whether the load of the machine (processor, memory, disk, network, GPU) is sent with the curves."""

    @field_validator("experiment")
    @classmethod
    def _has_a_name(cls, value: str) -> str:
        if not value.strip() or value != value.strip() or not value.isprintable():
            raise ValueError(f"{value!r}: expected a name, without blanks at its ends")
        return value


class PromoteParams(Section):
    """What a challenger may cost beside the champion."""

    max_ap_loss: Annotated[float, Field(ge=0)] = 0.5
    """Points of box or mask AP that it may be below, where noise could explain them; beyond noise, none."""
    max_latency_ratio: Annotated[float, Field(gt=0)] = 1.25
    max_size_ratio: Annotated[float, Field(gt=0)] = 1.5
