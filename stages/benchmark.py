"""What a converted file costs: latency, start-up, memory, size; or a copy elsewhere: `FOLDER --out device.json`."""

import sys
from collections.abc import Sequence

from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import RESULT_FILE, Layout
from stages.core.benchmarking.benchmark import measure_cost
from stages.core.benchmarking.device_run import is_device_run, run_device
from stages.core.benchmarking.summary import summarize_benchmark
from stages.core.command_line import parse_args, run_stage
from stages.core.datasets.prepared import read_evaluation_split
from stages.core.params.tree import load_params
from stages.core.results.conversion import Conversion
from stages.core.results.kinds import Variant


def main(argv: Sequence[str] | None = None) -> int:
    """Reads `converted/<scheme>`, writes `benchmarked/<scheme>.json`; with `--out`, a device file."""
    if is_device_run(words := sys.argv[1:] if argv is None else argv):
        return run_device(words)
    args = parse_args("benchmark", argv, about=__doc__, model=True, scheme=True)
    params, layout = load_params(args.root), Layout(args.root)
    settings = params.benchmark
    folder = layout.converted(args.model, args.scheme)
    split = read_evaluation_split(layout.split(params.validation.split))
    benchmark = measure_cost(
        read_json(Conversion, folder / RESULT_FILE),
        folder=folder,
        exported=layout.exported(args.model, Variant.TRAINED),
        images=[image.path for image in split.images[: settings.images]],
        runs=settings.runs,
        warmup=settings.warmup,
        max_seconds=settings.max_seconds,
        num_threads=settings.num_threads,
    )
    write_json(benchmark, layout.benchmarked(args.model, args.scheme))
    print(summarize_benchmark(benchmark))
    return 0


if __name__ == "__main__":
    run_stage(main)
