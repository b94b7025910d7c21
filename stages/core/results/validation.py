"""How accurate a converted file is.

AP values are points (0..100); `None` means "could not be measured" and is never a number in disguise.
"""

from dataclasses import dataclass, field

from stages.core.results.classes import ClassResults
from stages.core.results.status import Status


@dataclass(frozen=True, kw_only=True)
class AveragePrecision:
    """COCO summary in points 0..100; None where no object of that kind exists.

    `ap` averages IoU .50:.95; `small`/`medium`/`large` are areas below 32², 96² and above, in pixels of the image.
    `per_class` is AP, `per_class_ap50` AP50, by class.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    per_class: dict[str, float | None] = field(default_factory=dict)
    per_class_ap50: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Box AP and, for a model with masks, mask AP."""

    box: AveragePrecision
    mask: AveragePrecision | None = None


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where a number lies on other images of the same kind, in its own unit."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ApIntervals:
    """Bootstrap intervals over the evaluated images, in points; None where the number itself is undefined.

    Attributes:
      ap, ap_float: Of the file, and of the float model on the same images.
      ap_drop: Of the drop, both drawn alike; class_ap_drop: the same by class.
      resamples: How often images were drawn; confidence: share of the draws inside an interval, 0..1.
    """

    ap: Interval | None
    ap_float: Interval | None
    ap_drop: Interval | None
    class_ap_drop: dict[str, Interval | None]
    resamples: int
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How close one raw output is to the float model's, over the parity images.

    Attributes:
      output: Name in `Interface.raw_outputs`.
      sqnr_db: Signal to quantization-noise ratio, 10 log10(sum ref² / sum (ref - got)²), in dB; None when there is no
        noise (`max_abs` 0), no signal (the float model's is all zero), or a value that is not finite.
      cosine: Cosine similarity of the flattened tensors; None when one is all zero or not finite.
      max_abs: Largest absolute difference: 0 when identical, None when a value of either is NaN or infinite.
      num_images: How many images it was measured on.
    """

    output: str
    sqnr_db: float | None
    cosine: float | None
    max_abs: float | None
    num_images: int


@dataclass(frozen=True, kw_only=True)
class MovedImage:
    """An image whose detections moved: 1 - F1 against the float model's, then by score shift."""

    image_id: int
    f1: float
    score_shift: float


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Detections against the float model's, matched one to one at IoU 0.5 and equal class.

    Attributes:
      precision, recall, f1: 0..1, over all images; detections below `score_threshold` are left out on both sides.
      mean_iou: Of matched pairs.
      score_shift: Mean of (score - float score) over matched pairs; largest_score_shift: the largest absolute one.
      num_reference, num_detections, num_matched: Counts.
      most_moved: The 20 images that moved most.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    mean_iou: float | None
    score_shift: float | None
    largest_score_shift: float | None = None
    score_threshold: float
    num_reference: int
    num_detections: int
    num_matched: int
    most_moved: tuple[MovedImage, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a number was measured on and how.

    Attributes:
      split: Which split was evaluated.
      num_images: How many of its images; split_images: how many it has.
      subset: Why fewer than all were evaluated; empty when all were.
      image_ids_sha256: Hash of the sorted list of evaluated image ids.
      data_sha256: Hash of the split.
      iou_range, max_detections, score_floor: COCO protocol.
    """

    split: str
    num_images: int
    split_images: int
    subset: str = ""
    image_ids_sha256: str
    data_sha256: str
    iou_range: str = "0.50:0.95:0.05"
    max_detections: int = 100
    score_floor: float


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Accuracy of one converted file (`models/validated/<model>/<scheme>.json`).

    `accuracy` is the file's; `reference` the float model's under the same post-processing on the same images; a drop is
    reference minus file, in points (negative: the file is better). `box_intervals` and `mask_intervals` say how well
    these numbers are known; None where that cannot be said. `box_classes` and `mask_classes` are the file's, class by
    class.
    """

    model: str
    scheme: str
    status: Status
    reason: str = ""
    artifact_sha256: str | None = None
    accuracy: Accuracy | None = None
    reference: Accuracy | None = None
    box_ap_drop: float | None = None
    mask_ap_drop: float | None = None
    box_intervals: ApIntervals | None = None
    mask_intervals: ApIntervals | None = None
    box_classes: ClassResults | None = None
    mask_classes: ClassResults | None = None
    parity: tuple[Parity, ...] = ()
    agreement: Agreement | None = None
    protocol: Protocol | None = None
    seconds: float
    versions: dict[str, str]
