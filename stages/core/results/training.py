"""What a training leaves behind."""

from dataclasses import dataclass, field
from typing import Any

from stages.core.results.status import Status


@dataclass(frozen=True, kw_only=True)
class FittedAnchors:
    """Anchors that were fitted to the training objects (`anchors.fit`); experiment.yaml has them too.

    Attributes:
      size, aspect_ratios, num_scales: As in `train.<model>.anchors`.
      recall: Share of the training objects that some anchor overlaps by IoU 0.5 or more, 0..1; given_recall: the same
        with the anchors that params.yaml states.
    """

    size: float
    aspect_ratios: tuple[float, ...]
    num_scales: int
    recall: float
    given_recall: float


@dataclass(frozen=True, kw_only=True)
class InitializedPart:
    """What a part of a model took from an init checkpoint.

    Attributes:
      part: `backbone`, `decoder`, `head (class)`, ...
      loaded: Variables that hold the checkpoint's values; variables: all that it has.
      reason: Why the others do not, or what holds of those that do in part.
    """

    part: str
    loaded: int
    variables: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class InitRecord:
    """What a training took from its init checkpoint.

    Attributes:
      source: What `init_checkpoint` says.
      kind: Which kind of checkpoint that was.
      sha256: Of the file, or of a TensorFlow checkpoint's index.
      parts: By part of the model.
      missing: Path of each variable that was not loaded, with the reason.
      class_names_from: Where the names of its classes come from; empty if nobody says, or no class was loaded.
      classes: Ours that it knew.
      notes: What was adjusted, or does not agree.
      unused: Variables of the checkpoint, without an optimizer's, that have no counterpart here.
    """

    source: str
    kind: str
    sha256: str
    parts: tuple[InitializedPart, ...]
    missing: dict[str, str]
    class_names_from: str
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    unused: int


@dataclass(frozen=True, kw_only=True)
class TrainingStart:
    """A training in progress, for whoever looks at its work folder (`training.json`).

    Attributes:
      model, variant: Which weights it makes.
      config_sha256, data_sha256: As in `TrainResult`.
      pid: The process that trains.
      settings: How it trains: all of `train.<model>`, resolved.
      refinement: What else it depends on, as in refinement.json; empty for a first training.
    """

    model: str
    variant: str
    config_sha256: str
    data_sha256: str
    pid: int = 0
    settings: dict[str, Any]
    refinement: dict[str, Any] = field(default_factory=dict)


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
      initialization: What the init checkpoint gave, part by part; None without one.
      fitted_anchors: What `anchors.fit` found; None without it, and in what is trained on from other weights.
      labels: Category id (from 1) to name, as trained on; empty in results from before they were noted.
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
    initialization: InitRecord | None = None
    fitted_anchors: FittedAnchors | None = None
    data_sha256: str
    config_sha256: str
    seconds: float
    versions: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    status: Status = Status.OK
    reason: str = ""
