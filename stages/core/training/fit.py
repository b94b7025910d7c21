"""Trains one detector with Model Garden's trainer and Orbit's loop, from scratch or from where it was stopped."""

import functools
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orbit
import tf_keras
from official.core import config_definitions as cfg
from official.core import train_lib
from official.modeling import optimization

from stages.core.base.errors import TrainingError, UserError
from stages.core.base.stopping import Stopped
from stages.core.results.history import Entry
from stages.core.training.backbone_rates import FrozenBackbone, scale_learning_rates, stage_factors
from stages.core.training.clock import TrainingLength
from stages.core.training.history import HistoryLog, format_ap, to_points
from stages.core.training.hooks import TaskHook, attach_hook
from stages.core.training.interrupts import Interrupts
from stages.core.training.multi_scale import Size, follow_sizes
from stages.core.training.progress import TrainingView
from stages.core.training.recalibration import recalibrate_batch_norms
from stages.core.training.tasks import TrainingSetup, build_training_task


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a training ended. `runner` still holds the model."""

    runner: train_lib.OrbitExperimentRunner
    steps: int
    stopped_early: bool


def create_runner(
    config: cfg.ExperimentConfig,
    folder: Path,
    strategy: Any,
    setup: TrainingSetup,
    *,
    seed: int,
    on_loop: Any,
    hook: TaskHook | None = None,
) -> Any:
    """Model Garden's runner, with the newest checkpoint of `folder` restored if there is one.

    Args:
      config: With absolute paths.
      folder: Checkpoints, TensorBoard files and the best checkpoint.
      strategy: A tf.distribute strategy.
      setup: What the task must know besides `config`.
      seed: Of initial weights and of random operations.
      on_loop: Called with the losses after every few steps, before a checkpoint may be saved.
      hook: What the training changes about the task that the configuration states.
    """
    tf_keras.utils.set_random_seed(seed)
    task = build_training_task(config, setup, logging_dir=folder)
    try:
        runner = train_lib.OrbitExperimentRunner(
            distribution_strategy=strategy,
            task=task if hook is None else attach_hook(task, hook),
            mode="train_and_eval",
            params=config,
            model_dir=str(folder),
            train_actions=[on_loop],
            controller_cls=create_controller,
        )
    except UserError as error:
        raise _first_cause(error) from None
    with strategy.scope():
        _create_optimizer_variables(runner.trainer)
        if config.task.layer_decay != 1:
            factors = stage_factors(runner.trainer.model.backbone, config.task.layer_decay)
            scale_learning_rates(runner.trainer.optimizer, factors)
    return runner


def _create_optimizer_variables(trainer: Any) -> None:
    """Creates now what the first step would create: TensorFlow traces a function that creates variables twice."""
    optimizer = trainer.optimizer
    while optimizer is not None:  # a moving average has the optimizer that it averages inside
        optimizer._create_all_weights(trainer.model.trainable_variables)
        optimizer = getattr(optimizer, "_optimizer", None)


def _first_cause(error: UserError) -> UserError:
    """The error as it was raised: gin, by which Model Garden makes its trainer, adds a line to every message."""
    while isinstance(error.__context__, UserError):
        error = error.__context__
    return error


def create_controller(*, steps_per_loop: int, **arguments: Any) -> orbit.Controller:
    """Orbit's controller, with loops that end at multiples of `steps_per_loop`: a resumed training reports the same."""
    return orbit.Controller(steps_per_loop=lambda step: int(steps_per_loop - step % steps_per_loop), **arguments)


class TimeIsUp(Exception):  # noqa: N818 - no error
    """A training by the clock has reached its end."""


class LoopWatch:
    """Looks at every few steps: records them, shows them, and stops on a loss that is not finite, on a signal, or when
    the time of a training by the clock is up."""

    def __init__(
        self,
        history: HistoryLog,
        view: TrainingView,
        interrupts: Interrupts,
        length: TrainingLength,
        *,
        section: str,
        batch_size: int,
    ) -> None:
        """Sets where losses go, the section of params.yaml that advice is about, and how many images a step takes."""
        self._history, self._view, self._interrupts, self._section = history, view, interrupts, section
        self._batch_size = batch_size
        self._length = length
        self._seconds, self._last_step = history.seconds, 0
        self._last_time = time.monotonic()
        self.global_step: Callable[[], int] = lambda: 0

    def start(self, global_step: Callable[[], int]) -> None:
        """Fitting begins (or goes on after an evaluation)."""
        self.global_step = global_step
        self._last_step, self._last_time = global_step(), time.monotonic()
        self._length.update(self._last_step, self._seconds)

    def __call__(self, output: dict[str, Any]) -> None:
        step = self.global_step()
        values = {name: float(orbit.utils.get_value(value)) for name, value in output.items()}
        self._refuse_non_finite(step, values)
        now = time.monotonic()
        elapsed, self._last_time = now - self._last_time, now
        rate = (step - self._last_step) / max(elapsed, 1e-9)
        self._seconds += elapsed
        self._last_step = step
        entry: Entry = {"step": step, **values, "images_per_second": rate * self._batch_size, "seconds": self._seconds}
        self._history.append("train", entry)
        self._length.update(step, self._seconds)
        self._view.advance(
            step,
            self._length.total,
            loss=values["training_loss"],
            learning_rate=values["learning_rate"],
            steps_per_second=rate,
        )
        self._interrupts.raise_if_received()
        if self._length.by_clock and self.is_over:
            raise TimeIsUp

    @property
    def is_over(self) -> bool:
        """Whether the training has reached its end."""
        return self._length.is_over(self.global_step(), self._seconds)

    def begin_phase(self) -> None:
        """Another graph is trained from here on."""
        self._length.forget_speed()

    def next_stop(self, interval: int) -> int:
        """Step to train to: the next multiple of `interval`, or the last."""
        stop = (self.global_step() // interval + 1) * interval
        return stop if self._length.by_clock else min(stop, self._length.total)

    def _refuse_non_finite(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{name} is {value} at step {step}: training has diverged; in params.yaml, {self._section}, "
                    f"lower learning_rate ({values['learning_rate']:.3g} by then), raise warmup_steps, or set a "
                    "smaller gradient_clip_norm"
                )


def fit(
    runner: Any,
    config: cfg.ExperimentConfig,
    history: HistoryLog,
    watch: LoopWatch,
    view: TrainingView,
    interrupts: Interrupts,
    *,
    patience: int,
    settled_step: int = 0,
) -> FitResult:
    """Trains to the end, evaluating at every interval from `settled_step` on and at the end.

    Raises:
      Stopped: on SIGTERM or Ctrl-C, after saving a checkpoint.
      TrainingError: if a loss is not finite.
    """
    interval = config.trainer.validation_interval
    watch.start(functools.partial(_global_step, runner))
    step = _global_step(runner)
    backbone = FrozenBackbone(runner.trainer, until=config.task.freeze_backbone_steps)
    _follow_sizes(runner.trainer, config, watch, view)
    with runner.strategy.scope():
        while True:
            over = watch.is_over
            is_settled = over or step >= settled_step
            if is_settled and _is_due(step, runner, history, is_last=over, interval=interval):
                with interrupts.at_once():
                    if over:
                        _recalibrate(runner, step, config, view)
                    _evaluate(runner, step, config, history, view)
            if over or is_exhausted(history, config.trainer.best_checkpoint_eval_metric, patience):
                break
            watch.start(functools.partial(_global_step, runner))
            try:
                runner.controller.train(backbone.limit(watch.next_stop(interval)))
            except TimeIsUp:
                runner.controller.save_checkpoint()
            except Stopped:
                runner.controller.save_checkpoint()
                view.note(f"saved at step {_global_step(runner)}; run the same command again to go on from there")
                raise
            step = _global_step(runner)
            if backbone.release_if_due():
                watch.begin_phase()
                view.note(f"step {step}: the backbone learns from here on")
    if backbone.is_frozen:
        frozen = f"freeze_backbone_steps {backbone.until}"
        view.note(f"warning: the training ended before {frozen}: the backbone never learned")
    return FitResult(runner=runner, steps=step, stopped_early=not over)


def _follow_sizes(trainer: Any, config: cfg.ExperimentConfig, watch: LoopWatch, view: TrainingView) -> None:
    """Trains at several input sizes where that is wanted."""
    logging_dir = Path(trainer.task.logging_dir)
    build_task = functools.partial(build_training_task, setup=trainer.task.setup, logging_dir=logging_dir)

    def on_new_size(size: Size) -> None:
        watch.begin_phase()
        view.note(f"step {int(trainer.global_step.numpy())}: inputs of {size[0]} x {size[1]}")

    follow_sizes(trainer, config, build_task, on_new_size)


def _global_step(runner: Any) -> int:
    return int(runner.trainer.global_step.numpy())


def _is_due(step: int, runner: Any, history: HistoryLog, *, is_last: bool, interval: int) -> bool:
    """Whether weights at this step must be evaluated; after a resume perhaps once more, or for the first time."""
    if step == 0 or (step % interval and not is_last):
        return False
    judged = step in {entry["step"] for entry in history.history.validation}
    return not judged or runner.trainer.checkpoint_exporter.best_ckpt_path is None


def _recalibrate(runner: Any, step: int, config: cfg.ExperimentConfig, view: TrainingView) -> None:
    """Measures batch-norm statistics anew where that is wanted, for the averaged weights where there is an average."""
    task, trainer = config.task, runner.trainer
    if not task.recalibrate_batch_norm:
        return
    started = time.monotonic()
    number = math.ceil(task.recalibrate_batch_norm / task.train_data.global_batch_size)
    is_averaged = isinstance(trainer.optimizer, optimization.ExponentialMovingAverage)
    if is_averaged:
        trainer.optimizer.swap_weights()
    layers = recalibrate_batch_norms(
        trainer.task, trainer.model, itertools.islice(trainer.train_dataset, number), runner.strategy
    )
    if is_averaged:
        trainer.optimizer.swap_weights()
    images = number * task.train_data.global_batch_size
    view.note(
        f"step {step}: {layers} batch norms measured anew on {images} training images "
        f"({time.monotonic() - started:.0f} s)"
    )


def _evaluate(runner: Any, step: int, config: cfg.ExperimentConfig, history: HistoryLog, view: TrainingView) -> None:
    started = time.monotonic()
    view.note(f"step {step}: evaluating on val")
    output = runner.controller.evaluate(steps=config.trainer.validation_steps)
    scalars = {name: value for name, value in output.items() if isinstance(value, int | float) or value.ndim == 0}
    points = to_points(scalars)
    if "validation_loss" in scalars:
        points["validation_loss"] = float(scalars["validation_loss"])
    history.forget_validation(step)
    history.append("validation", {"step": step, **points})
    view.note(f"step {step}: {format_ap(points)} ({time.monotonic() - started:.0f} s)")


def is_exhausted(history: HistoryLog, metric: str, patience: int) -> bool:
    """Whether the last `patience` evaluations have all stayed at or below an earlier AP."""
    name = "mask_ap" if metric.startswith("mask") else "box_ap"
    values = [entry.get(name) or 0.0 for entry in history.history.validation]
    if not patience or len(values) <= patience:
        return False
    return max(values[-patience:]) <= max(values[:-patience])
