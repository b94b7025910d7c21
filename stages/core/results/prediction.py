"""What `predict` ran and found (`prediction.json` in its output folder)."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SkippedInput:
    """An input that could not be read, and why."""

    file: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One run of `predict`.

    Attributes:
      model: Row of the detector table that the file was made of.
      artifact: Path of the model file as it was found; artifact_sha256: its hash, as in result.json.
      float_artifact: Path of the float file that was drawn beside it; None without one.
      runtime, delegate, num_threads: What computed.
      score_threshold: Detections below were left out, 0..1.
      num_images: Images and video frames that were run.
      num_objects: Detections that were kept; objects_per_class: the same by class name.
      images_per_second: Over pre-processing, inference and decoding of the model, without reading and drawing.
      skipped: Inputs that could not be read.
    """

    model: str
    artifact: str
    artifact_sha256: str
    float_artifact: str | None = None
    runtime: str
    delegate: str
    num_threads: int
    score_threshold: float
    num_images: int
    num_objects: int
    objects_per_class: dict[str, int]
    images_per_second: float
    skipped: tuple[SkippedInput, ...] = ()
