"""Latency of single inferences."""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from stages.core.results.benchmark import Latency

MIN_RUNS = 5


def measure_latency(run: Callable[[], object], *, runs: int, warmup: int, max_seconds: float = math.inf) -> Latency:
    """Times `runs` calls one by one, after `warmup` calls that do not count.

    Once the timed calls have taken `max_seconds`, it stops early, though not before the fifth.
    """
    for _ in range(warmup):
        run()
    values_ms: list[float] = []
    while len(values_ms) < runs:
        start = time.perf_counter()
        run()
        values_ms.append((time.perf_counter() - start) * 1000)
        if len(values_ms) >= MIN_RUNS and sum(values_ms) >= max_seconds * 1000:
            break
    return summarize_latency(values_ms, warmup=warmup)


def summarize_latency(values_ms: Sequence[float], *, warmup: int) -> Latency:
    """Percentiles (linear between ranks) and mean of single latencies in milliseconds.

    Raises:
      ValueError: if there are none.
    """
    if not values_ms:
        raise ValueError("summarize_latency: no runs")
    p50, p90, p99 = np.percentile(values_ms, [50, 90, 99])
    return Latency(
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        mean_ms=float(np.mean(values_ms)),
        runs=len(values_ms),
        warmup=warmup,
    )
