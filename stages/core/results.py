"""The frozen values that cross stages. Each is one JSON file; `jsonfile` reads and writes them.

AP values are points (0..100); `None` means "could not be measured" and is never a number in disguise.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Status(StrEnum):
    """How a cell of the matrix ended."""

    OK = "ok"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What training gave (`models/<variant>/<model>/result.json`).

    Attributes:
      model, variant: Which weights these are.
      checkpoint: Prefix of the TF2 checkpoint, relative to the folder of result.json.
      checkpoint_sha256: Hash of its data file.
      num_classes: Foreground classes.
      input_size: (height, width) of the network's input in pixels.
      steps: Optimizer steps taken; best_step: the one whose weights were kept.
      stopped_early: Whether validation AP stopped improving before the last step.
      validation: Metric name to value in points, of the kept weights, as Model Garden's own evaluator measured them on
        the val split with Model Garden's own NMS (`box_ap`, `box_ap50`, `mask_ap`, ...).
      initialized_from: Path or URL of the init checkpoint; None when trained from scratch.
      not_loaded: Variables that the init checkpoint did not provide.
      data_sha256: Hash of the prepared data; config_sha256: of the resolved experiment.
      seconds: Wall time spent fitting, over all resumes.
      versions: Package name to version.
      status, reason: `not_applicable` where no scheme in use needs these weights; all the rest is then neutral.
    """

    model: str
    variant: str
    checkpoint: str
    checkpoint_sha256: str
    num_classes: int
    input_size: tuple[int, int]
    steps: int
    best_step: int
    stopped_early: bool
    validation: dict[str, float | None]
    initialized_from: str | None = None
    not_loaded: tuple[str, ...] = ()
    data_sha256: str
    config_sha256: str
    seconds: float
    versions: dict[str, str]
    status: Status = Status.OK
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class OpProof:
    """One op kind in the flatbuffer: how often, on which types, with how many multiply-accumulates."""

    op: str
    count: int
    activations: dict[str, int]
    weights: dict[str, int]
    macs: int


@dataclass(frozen=True, kw_only=True)
class LayerSparsity:
    """The zeros of one stored weight tensor, counted in the file's bytes.

    Attributes:
      name: Of the layer, as the file has it: the op that it was before batch norm and activation were merged into it.
        Where several ops share the weights, the first one's.
      op: Kind, e.g. `CONV_2D`.
      dtype: Type in which the weights are stored.
      num_weights: How many there are.
      sparsity: Share of them that stands for exactly zero, 0..1: float weights equal to 0, integers equal to their zero
        point.
    """

    name: str
    op: str
    dtype: str
    num_weights: int
    sparsity: float


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What the file itself says of its quantization (`proof.json`), read from its bytes.

    Attributes:
      ops: Histogram by op, with dtypes of first input activations and of weights (dtype name to count).
      tensor_dtypes: dtype name to number of tensors.
      macs: Multiply-accumulates of one inference in convolution, depthwise, transposed convolution and
        fully-connected layers; macs_by_dtype: the same by the dtype those layers compute in.
      int8_macs_fraction: Share of MACs with int8 weights and int8 activations, 0..1.
      weights_per_channel, weights_per_tensor: Number of quantized weight tensors of each granularity.
      custom_ops, flex_ops: Names; a Flex op cannot run here, so it is a failed conversion.
      shared_box_score_scale: True when boxes and scores leave the heads in one quantized tensor or share scale and
        zero point through one concatenation.
      sparsity: Zeros of every layer; only read where the scheme's weights are pruned.
      contradictions: What in the file speaks against the scheme's name; empty for a proved file.
    """

    ops: tuple[OpProof, ...]
    tensor_dtypes: dict[str, int]
    macs: int
    macs_by_dtype: dict[str, int]
    int8_macs_fraction: float
    weights_per_channel: int
    weights_per_tensor: int
    custom_ops: tuple[str, ...]
    flex_ops: tuple[str, ...]
    shared_box_score_scale: bool
    sparsity: tuple[LayerSparsity, ...] = ()
    contradictions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One cell of model x scheme after `convert` (`models/converted/<model>/<scheme>/result.json`).

    Nothing in it changes when the same file is made again: then nothing behind it has to run again either.

    Attributes:
      artifact: File name of the model inside the folder; None where there is none.
      companions: Files that belong to it (an IR's weights).
      sha256: Of that file; of the names and hashes of all of them where there are companions. size_bytes: Of all.
      calibration_images: How many images ranges were measured on (0 where the scheme needs none).
      calibration_sha256: Hash of the calibration list.
      calibration_detections: How many objects the float model found on them: what a mask head was calibrated on.
      notes: What a reader of the results should know of how the file was made.
    """

    model: str
    scheme: str
    backend: str
    source: str
    status: Status
    reason: str = ""
    artifact: str | None = None
    companions: tuple[str, ...] = ()
    sha256: str | None = None
    size_bytes: int | None = None
    calibration_images: int = 0
    calibration_sha256: str | None = None
    calibration_detections: int | None = None
    notes: tuple[str, ...] = ()
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class AveragePrecision:
    """COCO summary in points 0..100; None where no object of that kind exists.

    `ap` averages IoU .50:.95; `small`/`medium`/`large` are areas below 32², 96² and above, in pixels of the image.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    per_class: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Box AP and, for a model with masks, mask AP."""

    box: AveragePrecision
    mask: AveragePrecision | None = None


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
      split: Which split was judged.
      num_images: How many of its images; split_images: how many it has.
      subset: Why fewer than all were judged; empty when all were.
      image_ids_sha256: Hash of the sorted list of judged image ids.
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
    """Accuracy of one shipped file (`models/validated/<model>/<scheme>.json`).

    `accuracy` is the file's; `reference` the float model's under the same post-processing on the same images; a drop is
    reference minus file, in points (negative: the file is better).
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
    parity: tuple[Parity, ...] = ()
    agreement: Agreement | None = None
    protocol: Protocol | None = None
    seconds: float
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Latency of single inferences in milliseconds, over `runs` runs after `warmup`."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    runs: int
    warmup: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where a number was measured."""

    cpu: str
    isa_flags: tuple[str, ...]
    num_cpus: int
    system: str
    python: str


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Cost of one shipped file (`models/benchmarked/<model>/<scheme>.json`), measured in a fresh process.

    Attributes:
      init_ms: From opening the file to ready for the first inference.
      peak_rss_bytes: Peak resident set of that process; baseline_rss_bytes: before the model was opened.
      size_bytes, gzip_bytes: Of the model file(s).
      runtime, delegate: e.g. `ai-edge-litert 2.3.0`, `XNNPACK`.
      slow_ops: Kind to number of the ops that ran outside the delegate, on the runtime's plain kernels.
    """

    model: str
    scheme: str
    status: Status
    reason: str = ""
    artifact_sha256: str | None = None
    latency: Latency | None = None
    init_ms: float | None = None
    peak_rss_bytes: int | None = None
    baseline_rss_bytes: int | None = None
    size_bytes: int | None = None
    gzip_bytes: int | None = None
    num_threads: int
    runtime: str = ""
    delegate: str = ""
    slow_ops: dict[str, int] = field(default_factory=dict)
    machine: Machine


class Verdict(StrEnum):
    """What the gate says of a row."""

    PASS = "pass"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the results table (`metrics.json`: rows). AP in points 0..100."""

    model: str
    scheme: str
    backend: str
    source: str
    status: Status
    reason: str
    artifact: str | None
    sha256: str | None
    size_bytes: int | None
    gzip_bytes: int | None
    box_ap: float | None
    mask_ap: float | None
    box_ap_float: float | None
    mask_ap_float: float | None
    box_ap_drop: float | None
    mask_ap_drop: float | None
    agreement_f1: float | None
    latency_p50_ms: float | None
    latency_p90_ms: float | None
    peak_rss_bytes: int | None
    verdict: Verdict
    verdict_reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """`models/report/metrics.json`."""

    split: str
    num_images: int | None
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class ImageFate:
    """An image or object that `prepare` repaired or rejected, and why."""

    file: str
    kind: Literal["image", "object"]
    action: Literal["repaired", "rejected"]
    reason: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """Size and hash of one prepared split."""

    num_images: int
    num_objects: int
    objects_per_class: dict[str, int]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """`data/prepared/report.json`: what was kept, repaired and rejected, and the hash of what came out."""

    source: str
    images_found: int
    images_kept: int
    images_repaired: int
    images_rejected: int
    objects_found: int
    objects_kept: int
    objects_repaired: int
    objects_rejected: int
    reasons: dict[str, int]
    fates: tuple[ImageFate, ...]
    splits: dict[str, SplitSummary]
    sha256: str
    """Hash over all splits."""


@dataclass(frozen=True, kw_only=True)
class CalibrationImage:
    """One image of the fixed calibration list: path relative to data/prepared, and its hash."""

    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class CalibrationList:
    """`data/prepared/calibration.json`: the representative data set, drawn once from train.

    Images that show many classes come first, so that any prefix of the list is a sensible sample.
    """

    seed: int
    split: str
    images: tuple[CalibrationImage, ...]
