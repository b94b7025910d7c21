"""Sends the curves of trainings in progress to MLflow, beside them: a training itself knows nothing of it.

A training writes its history line by line into its work folder. This process reads it there, so nothing waits for the
store: what cannot be sent now is still in the file later, and `publish` sends what is missing at the end. MLflow is not
even imported until a training has something to show.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from stages.core.base.errors import ArtifactError, MissingResultError
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import HISTORY_FILE, HISTORY_LINES, RESULT_FILE, START_FILE, Layout
from stages.core.datasets.prepared import read_prepare_report
from stages.core.params.steps import PublishParams
from stages.core.params.tree import load_params
from stages.core.results.history import Entry, History, read_history
from stages.core.results.training import TrainingStart, TrainResult
from stages.core.tracking.address import hide_password, probe_store
from stages.core.tracking.data_sets import plan_data_sets
from stages.core.tracking.outcome import TrackingUnavailableError
from stages.core.tracking.publish import PROBE_SHARE, prepare_environment
from stages.core.tracking.run_plan import RunPlan
from stages.core.tracking.training_runs import history_to_clock, history_to_curves, plan_started
from stages.core.training.history import HistoryLog

if TYPE_CHECKING:
    from stages.core.tracking.stream import RunStream

INTERVAL_S = 2.0
"""Between two looks at the work folders."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 300.0
"""How long a store that failed is left alone: twice as long each time."""
NICENESS = 10
"""It takes the processor time that trainings leave."""


@dataclass
class FollowedTraining:
    """A training whose run is open.

    Attributes:
      sent: What the run has, by kind and step. After a resume, steps come again with other values.
    """

    start: TrainingStart
    plan: RunPlan
    run_id: str
    began_ms: int
    sent: dict[tuple[str, float | None], Entry] = field(default_factory=dict)


def follow_trainings(
    layout: Layout, params: PublishParams, uri: str, experiment: str, wait: Callable[[float], bool]
) -> None:
    """Follows every training of a project until told to end.

    Args:
      uri: Tracking store, absolute.
      experiment: Name of the DVC experiment, for the runs' names; empty outside of one.
      wait: Waits for so many seconds, or says sooner that it is time to end.
    """
    os.nice(NICENESS)
    prepare_environment(params.timeout_s)
    follower = Follower(layout, params, uri, experiment)
    is_over = False
    while not is_over:
        is_over = wait(INTERVAL_S)
        follower.look()


class Follower:
    """What has been sent of which training, and how the store has been doing."""

    def __init__(self, layout: Layout, params: PublishParams, uri: str, experiment: str) -> None:
        """Sets the project, the store, and the DVC experiment (empty outside of one)."""
        self._layout, self._params, self._uri, self._experiment = layout, params, uri, experiment
        self._stream: RunStream | None = None
        self._followed: dict[Path, FollowedTraining] = {}
        self._pause_s, self._asleep_until, self._has_warned = FIRST_PAUSE_S, 0.0, False

    def look(self) -> None:
        """Sends what is new, unless the store has failed lately. Whatever goes wrong is a warning, the first time."""
        if time.monotonic() < self._asleep_until:
            return
        try:
            running = find_running(self._layout.work)
            for folder in [folder for folder in self._followed if folder not in running]:
                self._finish(folder)
            for folder, start in running.items():
                self._send(folder, start)
            self._pause_s = FIRST_PAUSE_S
        except Exception as error:
            self._sleep(error)

    def _send(self, folder: Path, start: TrainingStart) -> None:
        history = HistoryLog(folder / HISTORY_LINES).history
        if history.train:
            self._send_history(self._open(folder, start, history), history)

    def _open(self, folder: Path, start: TrainingStart, history: History) -> FollowedTraining:
        """The training with its run, which is found or made the first time."""
        if folder not in self._followed:
            params = load_params(self._layout.root)
            prepared = read_prepare_report(self._layout.prepare_report)
            data_sets = plan_data_sets(prepared, params.prepare, ("train", "val"))
            plan = plan_started(start, history, data_sets, self._experiment)
            seconds = float(history.train[-1].get("seconds") or 0.0)
            run_id, began_ms = self._connect().open_run(plan, began_ms=int((time.time() - seconds) * 1000))
            self._followed[folder] = FollowedTraining(start, plan, run_id, began_ms)
        return self._followed[folder]

    def _send_history(self, training: FollowedTraining, history: History) -> None:
        kinds = {"train": history.train, "validation": history.validation}
        new = {
            kind: tuple(entry for entry in entries if training.sent.get((kind, entry["step"])) != entry)
            for kind, entries in kinds.items()
        }
        curves = history_to_curves(History(**new))
        if curves:
            plan = replace(training.plan, curves=curves, clock=history_to_clock(history))
            self._connect().send_curves(training.run_id, plan, training.began_ms)
        training.sent.update({(kind, entry["step"]): entry for kind, entries in new.items() for entry in entries})

    def _finish(self, folder: Path) -> None:
        """Ends the run of a training that is over; of one that was stopped as killed, until it goes on."""
        training = self._followed[folder]
        kept = self._layout.variant(training.start.model, training.start.variant)
        is_finished = not (folder / START_FILE).exists() and is_result_of(kept, training.start)
        if is_finished:
            self._send_history(training, read_history(kept / HISTORY_FILE))
        self._connect().end_run(training.run_id, "FINISHED" if is_finished else "KILLED")
        del self._followed[folder]

    def _connect(self) -> "RunStream":
        if self._stream is None:
            if problem := probe_store(self._uri, self._params.timeout_s * PROBE_SHARE):
                raise TrackingUnavailableError(problem)
            from stages.core.tracking.stream import RunStream

            self._stream = RunStream(self._uri, self._params)
        return self._stream

    def _sleep(self, error: Exception) -> None:
        """Leaves the store alone for a while, and says why, once."""
        self._asleep_until = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        if not self._has_warned:
            self._has_warned = True
            said = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(
                self._uri, hide_password(self._uri)
            )
            print(
                f"warning: training curves do not reach {hide_password(self._uri)}: {said}; training goes on, and "
                "`publish` sends them at the end",
                file=sys.stderr,
                flush=True,
            )


def find_running(work: Path) -> dict[Path, TrainingStart]:
    """Work folders in which a process is training now; a stopped training leaves its folder too."""
    found = {}
    for path in sorted(work.glob(f"*/*/{START_FILE}")):
        try:
            start = read_json(TrainingStart, path)
        except (MissingResultError, ArtifactError):  # just finished, or written by other code
            continue
        if is_alive(start.pid):
            found[path.parent] = start
    return found


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_result_of(folder: Path, start: TrainingStart) -> bool:
    """Whether a folder of weights holds what this training gave."""
    try:
        return read_json(TrainResult, folder / RESULT_FILE).config_sha256 == start.config_sha256
    except (MissingResultError, ArtifactError):
        return False
