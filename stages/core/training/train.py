"""One training from prepared data to `models/<variant>/<model>`: what is resumed, what is kept, and in which order.

Order matters, because a kill may come anywhere: checkpoints before evaluations, evaluations before their history
entry, the finished folder before the work folder is removed.
"""

import copy
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from official.core import config_definitions as cfg

from stages.core.base.hashing import hash_file
from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import (
    EXPERIMENT_FILE,
    HISTORY_FILE,
    HISTORY_LINES,
    REFINEMENT_FILE,
    RESULT_FILE,
    START_FILE,
    TRAIN_LOG,
    Layout,
)
from stages.core.base.native_output import OutputLog
from stages.core.base.versions import read_versions
from stages.core.detectors.build import (
    write_experiment,
)
from stages.core.detectors.data import TrainingData
from stages.core.params.training import TrainSettings
from stages.core.results.history import write_history
from stages.core.results.training import InitRecord, TrainingStart, TrainResult
from stages.core.tables.detectors import Detector
from stages.core.training.advice import advise, read_empty_classes
from stages.core.training.anchor_check import check_anchors
from stages.core.training.augmentation import check_augmentation
from stages.core.training.checkpoints import read_step, settle_best, settle_checkpoints
from stages.core.training.fit import FitResult, LoopWatch, create_runner, fit
from stages.core.training.history import HistoryLog
from stages.core.training.initializing.load import load_weights
from stages.core.training.initializing.summary import describe_initialization
from stages.core.training.input_pipeline import decoded_size_mb, describe_cache
from stages.core.training.interrupts import Interrupts
from stages.core.training.job import TrainingJob, below_root, make_setup, plan_training
from stages.core.training.multi_scale import count_caches
from stages.core.training.priors import start_at_priors
from stages.core.training.progress import open_view
from stages.core.training.refinement import Refinement
from stages.core.training.strategy import create_strategy
from stages.core.training.tasks import TrainingSetup
from stages.core.training.workspace import lock_folder, move_into_place

INIT_FILE = "initialization.json"
"""In the work folder."""
PACKAGES = ("tensorflow", "tf-keras", "tf-models-official", "numpy")


def train_detector(
    layout: Layout,
    detector: Detector,
    settings: TrainSettings,
    data: TrainingData,
    log: OutputLog,
    refinement: Refinement | None = None,
) -> TrainResult:
    """Trains one row of the table, or goes on with a training that was stopped, and puts the result in place.

    Args:
      settings: Of a refinement, only what says how to train is used; the rest is the source's (`refine_experiment`).
      refinement: Trains on from other weights with a changed model; the result then goes to its variant's folder.

    Raises:
      ParamsError: for bad overrides.
      CheckpointError: if the init checkpoint is missing or nothing of it fits.
      TrainingError: if a batch is larger than the data, the loss diverges, or the strategy cannot be set up.
      Stopped: on SIGTERM or Ctrl-C, after saving.
    """

    def say(text: str) -> None:
        print(text, file=log.terminal, flush=True)

    job = plan_training(layout, detector, settings, data, refinement, say)
    logging.getLogger("absl").setLevel(logging.INFO)  # into the log file: what Orbit and Model Garden say of the run
    with lock_folder(job.folder):
        log.move_to(job.folder / TRAIN_LOG)
        result = _train(job, log)
        shutil.rmtree(job.folder)
    return result


def _train(job: TrainingJob, log: OutputLog) -> TrainResult:
    run = job.folder / "run"
    run.mkdir(exist_ok=True)
    write_json(_start(job), job.folder / START_FILE)
    step, notes = settle_checkpoints(run)
    notes += settle_best(run / "best", newest=step or 0)
    history = HistoryLog(job.folder / HISTORY_LINES)
    history.rewind(step or 0)
    view = open_view(log.terminal, name=job.detector.name, total=job.config.trainer.train_steps, done=step or 0)
    empty_classes = read_empty_classes(job.layout.annotations("train"))
    try:
        # To a refinement, data and methods are given.
        for note in (*notes, *(_notes_on_data(job, empty_classes) if job.refinement is None else ())):
            view.note(note)
        if step is not None:
            view.note(f"going on from step {step} ({run})")
        with Interrupts() as interrupts:
            setup = make_setup(job)
            batch_size = job.config.task.train_data.global_batch_size
            watch = LoopWatch(history, view, interrupts, setup.length, section=job.section, batch_size=batch_size)
            config = _runtime_config(job, resumed_step=step or 0)
            runner = _create_runner(job, config, run, setup, watch, resumed_step=step or 0)
            if step is None:
                _initialize(job, runner, view.note)
            settled = 0 if job.refinement is None else job.refinement.settled_step
            patience = job.settings.early_stopping_patience
            done = fit(runner, config, history, watch, view, interrupts, patience=patience, settled_step=settled)
        result = _keep(job, done, history, log)
        if job.refinement is None:
            view.note(advise(history.history, empty_classes, job.section))
        return result
    finally:
        view.close()


def _start(job: TrainingJob) -> TrainingStart:
    """What the training is, for whoever watches it."""
    return TrainingStart(
        model=job.detector.name,
        variant=job.variant,
        config_sha256=job.key,
        data_sha256=job.data.sha256,
        pid=os.getpid(),
        settings=job.settings.model_dump(mode="json"),
        refinement={} if job.refinement is None else dict(job.refinement.key),
    )


def _notes_on_data(job: TrainingJob, empty_classes: Sequence[str]) -> list[str]:
    """What of the data and the parameters does not go together."""
    task, annotations = job.config.task, job.layout.annotations("train")
    size_mb = decoded_size_mb(annotations, with_masks=job.detector.has_masks) * count_caches(task.multi_scale)
    missing = f"warning: no object of {', '.join(empty_classes)} in train: never found by this model"
    notes = (
        job.anchors.note if job.anchors else check_anchors(task, annotations, job.section),
        missing if empty_classes else "",
        *check_augmentation(task, job.data.num_train),
        describe_cache(size_mb, task.image_cache_mb, job.section),
    )
    return [note for note in notes if note]


def _create_runner(
    job: TrainingJob,
    config: cfg.ExperimentConfig,
    run: Path,
    setup: TrainingSetup,
    watch: LoopWatch,
    *,
    resumed_step: int,
) -> Any:
    strategy, seed = create_strategy(config.runtime), job.settings.seed + resumed_step
    return create_runner(config, run, strategy, setup, seed=seed, on_loop=watch, hook=job.refinement)


def _runtime_config(job: TrainingJob, *, resumed_step: int) -> cfg.ExperimentConfig:
    """The configuration with absolute paths, and data shuffled otherwise than before the resume."""
    config = copy.deepcopy(job.config)
    task, root = config.task, job.layout.root
    for data in (task.train_data, task.validation_data):
        if isinstance(data.input_path, str):
            data.input_path = str(root / data.input_path)
    task.annotation_file = str(root / task.annotation_file)
    task.train_data.seed = (task.train_data.seed or 0) + resumed_step
    task.init_checkpoint = None  # loaded here, not by the task: see initializing/load.py
    return config


def _initialize(job: TrainingJob, runner: Any, say: Callable[[str], None]) -> None:
    """Sets initial biases, loads the init checkpoint, says what it gave, and notes that for the result."""
    record, trainer = None, runner.trainer
    with runner.strategy.scope():
        if job.refinement is None:
            start_at_priors(trainer.model, trainer.train_dataset, runner.strategy)
        if job.init is not None:
            modules = job.config.task.init_checkpoint_modules
            record = load_weights(trainer.model, job.detector, job.init, modules, job.data.labels)
    if record is not None:
        for line in describe_initialization(record):
            say(line)
    write_json([] if record is None else [record], job.folder / INIT_FILE)


def _read_initialization(job: TrainingJob) -> InitRecord | None:
    """What `_initialize` noted, in this process or in the one that was stopped."""
    return next(iter(read_json(list[InitRecord], job.folder / INIT_FILE)), None)


def _keep(job: TrainingJob, done: FitResult, history: HistoryLog, log: OutputLog) -> TrainResult:
    """Writes the result folder inside the work folder and moves it to where it belongs."""
    out = job.folder / "result"
    shutil.rmtree(out, ignore_errors=True)
    (out / "checkpoint").mkdir(parents=True)
    best = Path(done.runner.trainer.checkpoint_exporter.best_ckpt_path)
    best_step = read_step(best)
    model = done.runner.trainer.model
    tf.train.Checkpoint(model=model).read(str(best)).assert_existing_objects_matched().expect_partial()
    if job.refinement is not None:
        model = job.refinement.finish(model)
        write_json(dict(job.refinement.key), out / REFINEMENT_FILE)
    # Weights alone: the optimizer's state would triple the size, and nothing after training reads it.
    tf.train.Checkpoint(model=model, **model.checkpoint_items).write(str(out / "checkpoint" / "ckpt"))
    write_experiment(job.config, out / EXPERIMENT_FILE)
    write_history(history.history, out / HISTORY_FILE)
    for part in ("train", "validation"):
        if (job.folder / "run" / part).exists():
            shutil.copytree(job.folder / "run" / part, out / "tensorboard" / part)
    shutil.copy(log.path, out / TRAIN_LOG)
    result = _result(job, done, history, best_step, out)
    write_json(result, out / RESULT_FILE)
    move_into_place(out, job.layout.variant(job.detector.name, job.variant))
    return result


def _result(job: TrainingJob, done: FitResult, history: HistoryLog, best_step: int, out: Path) -> TrainResult:
    judged = next(entry for entry in history.history.validation if entry["step"] == best_step)
    height, width = job.config.task.model.input_size[:2]
    record = _read_initialization(job)
    source = job.refinement and str(below_root(job.refinement.source, job.layout))
    return TrainResult(
        model=job.detector.name,
        variant=job.variant,
        checkpoint="checkpoint/ckpt",
        checkpoint_sha256=hash_file(out / "checkpoint" / "ckpt.data-00000-of-00001"),
        num_classes=job.data.num_classes,
        input_size=(height, width),
        steps=done.steps,
        best_step=best_step,
        stopped_early=done.stopped_early,
        validation={name: value for name, value in judged.items() if name != "step"},
        initialized_from=source or job.config.task.init_checkpoint,
        not_loaded=tuple(record.missing) if record else (),
        initialization=record,
        fitted_anchors=job.anchors.record if job.anchors else None,
        labels={str(key): name for key, name in job.data.labels.items()},
        data_sha256=job.data.sha256,
        config_sha256=job.key,
        seconds=history.seconds,
        versions=read_versions(*PACKAGES),
    )
