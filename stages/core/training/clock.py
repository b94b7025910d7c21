"""How long a training is: so many steps, or so many minutes with a schedule that follows the clock."""

from typing import Any

import tensorflow as tf
import tf_keras

from stages.core.params.averaging import average_decay

SMOOTHING = 0.2
"""Weight of the newest loop in the mean time of a step."""


class TrainingLength:
    """Length of a training, and how much of it is done.

    Attributes:
      steps: Of the schedule in the configuration: the length of a training that is not by the clock.
      share_done: float32 variable, 0..1. Graphs read it: the input pipeline, and schedule and average by the clock.
      average_decay: float32 variable: decay of the moving average that suits the length as it is estimated now.
    """

    def __init__(self, *, steps: int, max_minutes: float | None) -> None:
        self.steps = steps
        self._max_seconds = None if max_minutes is None else 60.0 * max_minutes
        self._seconds_per_step: float | None = None
        self._last: tuple[int, float] | None = None
        self._loops = 0
        self._total = steps
        self.share_done = tf.Variable(0.0, trainable=False, name="share_done")
        self.average_decay = tf.Variable(average_decay(steps), trainable=False, name="average_decay")

    @property
    def by_clock(self) -> bool:
        return self._max_seconds is not None

    @property
    def total(self) -> int:
        """Steps of the whole training; by the clock an estimate."""
        return self._total

    def update(self, step: int, seconds: float) -> None:
        """Notes that `step` was reached after `seconds` of training, over all resumes."""
        if self._max_seconds is None:
            self.share_done.assign(min(step / self.steps, 1.0))
            return
        self._measure(step, seconds)
        left = max(self._max_seconds - seconds, 0.0)
        if self._seconds_per_step is not None:
            self._total = step + round(left / self._seconds_per_step)
        self.share_done.assign(min(seconds / self._max_seconds, 1.0))
        self.average_decay.assign(average_decay(max(self._total, 1)))

    def is_over(self, step: int, seconds: float) -> bool:
        """Whether the training ends here: no further step fits."""
        if self._max_seconds is None:
            return step >= self.steps
        return seconds + 0.5 * (self._seconds_per_step or 0.0) >= self._max_seconds

    def forget_speed(self) -> None:
        """From here on steps take another time, and the first of them waits for a graph to be traced."""
        self._seconds_per_step, self._loops = None, 0

    def _measure(self, step: int, seconds: float) -> None:
        last, self._last = self._last, (step, seconds)
        if last is None or step <= last[0]:
            return
        self._loops += 1
        if self._loops == 1:
            return  # the first loop traces the graph: its time says nothing
        newest = (seconds - last[1]) / (step - last[0])
        known = self._seconds_per_step
        self._seconds_per_step = newest if known is None else known + SMOOTHING * (newest - known)


class ClockSchedule(tf_keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A schedule over a nominal number of steps, run through at the speed of the clock; warm-up counts real steps."""

    def __init__(self, schedule: Any, length: TrainingLength, *, warmup_steps: int) -> None:
        """Wraps Model Garden's schedule, which begins with the warm-up and ends at `length.steps`."""
        super().__init__()
        self._schedule, self._length, self._warmup_steps = schedule, length, float(warmup_steps)

    def __call__(self, step: Any) -> Any:
        step = tf.cast(step, tf.float32)
        nominal = tf.maximum(self._length.share_done * self._length.steps, self._warmup_steps)
        return self._schedule(tf.where(step < self._warmup_steps, step, nominal))

    def get_config(self) -> dict[str, Any]:
        """Of Keras; a schedule that follows a clock is not built from a configuration."""
        raise NotImplementedError
