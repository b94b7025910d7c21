"""What a run is made of, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stages.core.reporting.curves import Curve
from stages.core.tracking.data_sets import DataSet
from stages.core.tracking.model_plan import ModelPlan


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """One run to be found or made.

    Attributes:
      name: What the tracking UI shows.
      key: What it is found by.
      content_sha256: Hash of what was measured; a run that holds it already is left alone.
      params, metrics, tags: By name.
      curves: Numbers over steps.
      clock: Step to seconds since the run began: when a curve's points were measured.
      data_sets: What it was made from or measured on.
      model: What is logged as an MLflow model; None for a run without one.
      artifacts: Local file or folder, and the folder it goes to.
      failed: Whether the gate is red: the run is then marked as failed.
      seconds: How long the work behind it took: MLflow's table shows that as its duration, not how long sending took.
    """

    name: str
    key: str
    content_sha256: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    curves: tuple[Curve, ...] = ()
    clock: Mapping[int, float] = field(default_factory=dict)
    data_sets: tuple[DataSet, ...] = ()
    model: ModelPlan | None = None
    artifacts: tuple[tuple[Path, str], ...]
    failed: bool
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A parent run, the runs of the trainings behind it, and one child per model and scheme.

    Attributes:
      trainings: Each may have a run already: one that was streamed, or that an earlier publication made.
    """

    experiment: str
    artifact_root: str | None
    parent: RunPlan
    trainings: tuple[RunPlan, ...] = ()
    children: tuple[RunPlan, ...]
