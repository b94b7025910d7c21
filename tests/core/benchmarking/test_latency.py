"""Percentiles of latencies, and that warm-up does not count."""

import numpy as np
import pytest

from stages.core.benchmarking.latency import measure_latency, summarize_latency


def test_percentiles_of_known_values() -> None:
    latency = summarize_latency([float(value) for value in range(1, 102)], warmup=3)

    assert (latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.mean_ms) == (51, 91, 100, 51)
    assert (latency.runs, latency.warmup) == (101, 3)


def test_every_run_is_timed_and_warmup_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0, 100, 0.002).tolist())
    monkeypatch.setattr("stages.core.benchmarking.latency.time.perf_counter", lambda: next(clock))
    calls = []

    latency = measure_latency(lambda: calls.append(1), runs=50, warmup=5)

    assert len(calls) == 55
    assert latency.p50_ms == pytest.approx(2)
    assert next(clock) == pytest.approx(0.002 * 100)  # two looks per timed run, none in the warm-up


def test_no_runs_is_an_error() -> None:
    with pytest.raises(ValueError, match="no runs"):
        summarize_latency([], warmup=0)
