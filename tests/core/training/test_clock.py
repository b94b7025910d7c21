"""By steps a training ends at a step, by the clock at a time; what graphs read of it follows."""

import pytest
import tf_keras
from official.modeling import optimization

from stages.core.training.clock import ClockSchedule, TrainingLength
from tests.experiment_builder import experiment

pytestmark = pytest.mark.slow


def test_by_steps_the_share_follows_the_steps() -> None:
    length = TrainingLength(steps=200, max_minutes=None)
    length.update(50, seconds=1e6)
    assert not length.by_clock
    assert length.total == 200
    assert length.share_done.numpy() == pytest.approx(0.25)
    assert [length.is_over(step, 1e6) for step in (199, 200, 201)] == [False, True, True]


def test_by_the_clock_the_share_follows_the_seconds_and_the_total_is_estimated() -> None:
    length = TrainingLength(steps=1000, max_minutes=1)
    length.update(0, 0.0)
    length.update(5, 15.0)  # tracing the graph takes most of it
    for step in (10, 15, 20):
        length.update(step, 15.0 + (step - 5) * 0.5)
    assert length.share_done.numpy() == pytest.approx(22.5 / 60)
    assert 70 <= length.total <= 100


def test_the_first_loop_after_a_start_says_nothing_of_the_speed() -> None:
    length = TrainingLength(steps=1000, max_minutes=1)
    length.update(100, 20.0)  # a resume
    length.update(105, 45.0)  # with the graph traced anew
    assert length.total == 1000
    length.update(110, 46.0)
    assert length.total == 110 + 70


def test_after_another_graph_was_traced_the_speed_is_measured_anew() -> None:
    length = TrainingLength(steps=1000, max_minutes=2)
    for step, seconds in ((0, 0.0), (5, 10.0), (10, 11.0), (15, 12.0)):
        length.update(step, seconds)
    length.forget_speed()
    length.update(20, 40.0)  # tracing
    length.update(25, 60.0)  # four seconds a step now
    assert length.total == 25 + 15


def test_by_the_clock_it_is_over_when_no_further_step_fits() -> None:
    length = TrainingLength(steps=10, max_minutes=1)
    for step in range(4):
        length.update(step, 10.0 * step)
    assert not length.is_over(3, 30.0)
    assert not length.is_over(5, 54.0)
    assert length.is_over(5, 56.0)  # half a step before the end
    assert not length.is_over(10**6, 30.0)


def test_the_moving_average_gets_longer_with_the_training() -> None:
    length = TrainingLength(steps=100, max_minutes=10)
    decays = []
    for step, seconds in ((0, 0.0), (10, 10.0), (20, 12.0)):
        length.update(step, seconds)
        decays.append(float(length.average_decay.numpy()))
    assert decays[-1] > decays[0]
    assert decays[-1] == pytest.approx(1 - 1 / (0.25 * length.total), abs=1e-4)


@pytest.mark.parametrize(
    ("step", "seconds", "expected"),
    [(0, 0.0, 0.0), (5, 1.0, 0.5), (10, 30.0, 0.5), (400, 30.0, 0.5), (999, 60.0, 0.0)],
)
def test_the_schedule_lands_on_the_clock(step: int, seconds: float, expected: float) -> None:
    """Warm-up over ten steps, then linear to zero at the nominal 100; half the time is half the rate, at any step."""
    length = TrainingLength(steps=100, max_minutes=1)
    length.update(step, seconds)
    linear = tf_keras.optimizers.schedules.PolynomialDecay(1.0, 100, 0.0)

    def schedule(at: float) -> float:
        return at / 10 if at < 10 else linear(at)

    rate = ClockSchedule(lambda at: schedule(float(at)), length, warmup_steps=10)(step)
    assert float(rate) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("floor", "expected"), [(0.0, 0.0), (0.1, 0.0002), (1.0, 0.002)])
def test_cosine_ends_on_its_floor_by_steps_and_by_the_clock(floor: float, expected: float) -> None:
    config = experiment(learning_rate=0.002, learning_rate_floor=floor, warmup_steps=10, steps=100)
    schedule = optimization.OptimizerFactory(config.trainer.optimizer_config).build_learning_rate()
    assert float(schedule(100)) == pytest.approx(expected, abs=1e-9)
    assert float(schedule(10)) == pytest.approx(0.002, rel=0.03)
    length = TrainingLength(steps=100, max_minutes=1)
    by_clock = ClockSchedule(schedule, length, warmup_steps=10)
    for step, seconds in ((0, 0.0), (40, 30.0), (77, 60.0)):
        length.update(step, seconds)
        assert float(by_clock(step)) >= (expected if step else 0.0)
    assert float(by_clock(77)) == pytest.approx(expected, abs=1e-9)
