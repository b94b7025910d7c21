"""Files beside a reference: timed in turns, and compared only so."""

import time
from collections.abc import Callable

import pytest

from stages.core.benchmarking.beside import summarize_ratio, time_in_turns
from stages.core.reporting.refinements import compare_latency
from stages.core.results.benchmark import Beside
from tests.builders import benchmark


def beside(ratio: float, low: float, high: float, sha256: str = "r") -> Beside:
    return Beside(reference_sha256=sha256, ratio=ratio, low=low, high=high, pairs=50)


COMPARISONS = [
    (beside(0.5, 0.48, 0.52), beside(0.6, 0.58, 0.62), "faster (0.83 of its time"),
    (beside(0.6, 0.58, 0.62), beside(0.5, 0.48, 0.52), "slower (1.20 of its time"),
    (beside(0.51, 0.48, 0.54), beside(0.52, 0.49, 0.55), "no measurable difference (0.98 of its time, 0.87 to 1.10"),
    (beside(0.2, 0.1, 0.9), beside(0.6, 0.58, 0.62), "no measurable difference"),
    (beside(0.2, 0.19, 0.21), beside(0.6, 0.58, 0.62, sha256="other"), "timed apart, so not compared"),
    (None, beside(0.6, 0.58, 0.62), "timed apart, so not compared"),
    (beside(0.6, 0.58, 0.62), None, "timed apart, so not compared"),
]


@pytest.mark.parametrize(("mine", "other", "says"), COMPARISONS)
def test_one_file_is_faster_only_beyond_the_spread(mine: Beside | None, other: Beside | None, says: str) -> None:
    # What was timed minutes apart does not count, however clear it looks.
    slow, fast = benchmark("maskrcnn_mobiledet", "float32"), benchmark("maskrcnn_mobiledet", "int8")
    for first, second in ((slow, fast), (fast, slow)):
        told = compare_latency(
            type(first)(**{**vars(first), "beside": mine}), type(second)(**{**vars(second), "beside": other})
        )
        assert told.startswith(says)


def sleeper(seconds: Callable[[], float], log: list[str], name: str) -> Callable[[], None]:
    def call() -> None:
        log.append(name)
        time.sleep(seconds())

    return call


def test_a_machine_that_slows_down_slows_both() -> None:
    """The same work on a machine that gets ever slower: timed one after the other it would differ by far."""
    calls: list[str] = []

    def slower() -> float:
        return 0.0005 * (1 + len(calls) / 10)

    pairs = time_in_turns(sleeper(slower, calls, "a"), sleeper(slower, calls, "b"), pairs=40, max_seconds=10)
    assert calls[:8] == ["a", "b", "b", "a", "a", "b", "b", "a"]
    ratio, low, high = summarize_ratio(pairs)
    assert low <= ratio <= high
    assert 0.8 < ratio < 1.25


def test_a_slow_pair_is_timed_fewer_times() -> None:
    calls: list[str] = []
    work = sleeper(lambda: 0.004, calls, "x")
    assert len(time_in_turns(work, work, pairs=100, max_seconds=0.02)) == 5
