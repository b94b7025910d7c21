"""One line for the terminal on what a file costs."""

from stages.core.results.benchmark import Benchmark


def summarize_benchmark(benchmark: Benchmark) -> str:
    """E.g. `retinanet_mobiledet_cpu int8: p50 9.0 ms, p90 9.4 ms (3.1 objects), peak 120.1 MB, file 3.8 MB`."""
    cell = f"{benchmark.model} {benchmark.scheme}"
    if benchmark.latency is None:
        return f"{cell}: {benchmark.status}: {benchmark.reason}"
    peak, size = (benchmark.peak_rss_bytes or 0) / 1e6, (benchmark.size_bytes or 0) / 1e6
    latency = benchmark.latency
    found = "" if benchmark.mean_detections is None else f" ({benchmark.mean_detections:.1f} objects)"
    times = f"p50 {latency.p50_ms:.1f} ms, p90 {latency.p90_ms:.1f} ms{found}"
    if beside := benchmark.beside:
        times += f", {beside.ratio:.2f} ({beside.low:.2f} to {beside.high:.2f}) of the float model's"
    return f"{cell}: {times}, peak {peak:.1f} MB, file {size:.1f} MB"
