"""Copied converted folders timed on the machine that this runs on, for the report of the machine that made them."""

import argparse
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from stages.core.base.errors import ArtifactError, DataError, UsageError
from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import RESULT_FILE
from stages.core.benchmarking.benchmark import measure_cost
from stages.core.benchmarking.benchmark_model import read_benchmark_model
from stages.core.benchmarking.machine import read_machine
from stages.core.benchmarking.summary import summarize_benchmark
from stages.core.command_line import make_parser, read_args
from stages.core.datasets.prepared import load_image
from stages.core.params.steps import BenchmarkParams
from stages.core.results.benchmark import Benchmark
from stages.core.results.conversion import Conversion
from stages.core.results.device import DeviceCost, DeviceFile
from stages.core.results.interface import read_interface
from stages.core.results.status import Status
from stages.core.running.artifact import read_artifact

ABOUT = """Measure copied converted folders on this machine, for the report of another one (docs/devices.md).

Without --out, `python -m stages.benchmark --model NAME --scheme NAME` measures one cell of a project."""
NOISE_IMAGES, SEED = 4, 0
OWN_TOOL = "stages.benchmark"


def is_device_run(argv: Sequence[str]) -> bool:
    """Whether the command line asks for a device file instead of a cell of the project."""
    return any(word == "--out" or word.startswith("--out=") for word in argv)


def run_device(argv: Sequence[str]) -> int:
    """Measures, or reads another tool's output, and writes the device file as a whole; returns 0.

    Raises:
      UsageError: if the arguments are wrong, or the file to write belongs to another device.
      ArtifactError: if a folder or file is not what it should be.
      DataError: if an image cannot be read.
    """
    args = _read_arguments(argv)
    folders = find_converted(args.folders)
    machine = read_machine()
    if args.read:
        if len(folders) != 1:
            raise UsageError(f"--read: the output is that of one model, found {len(folders)} folders")
        cost = read_benchmark_model(args.read, folders[0], read_json(Conversion, folders[0] / RESULT_FILE))
        new = DeviceFile(device=args.device, cpu=args.cpu, costs=(cost,))
    else:
        new = DeviceFile(
            device=args.device or platform.node() or machine.cpu,
            cpu=args.cpu or machine.cpu,
            isa_flags=machine.isa_flags,
            num_cpus=machine.num_cpus,
            system=machine.system,
            costs=(),
        )
        # Whose file it is, before minutes are spent on measuring.
        merge_device(args.out, new)
        new = replace(new, costs=_measure(folders, args))
    merged = merge_device(args.out, new)
    write_json(merged, args.out)
    print(f"{args.out}: {merged.device}: {len(new.costs)} measured, {len(merged.costs)} in the file")
    return 0


def find_converted(sources: Sequence[Path]) -> tuple[Path, ...]:
    """Folders that `convert` wrote, among those named and up to two levels below; those without a file are left out.

    Raises:
      ArtifactError: if a source holds none.
    """
    found: dict[Path, None] = {}
    for source in sources:
        records = [path for depth in ("", "*/", "*/*/") for path in sorted(source.glob(f"{depth}{RESULT_FILE}"))]
        made = [path.parent for path in records if read_json(Conversion, path).status is Status.OK]
        if not made:
            raise ArtifactError(
                f"{source}: no converted model in it, expected a folder with the {RESULT_FILE} that `convert` wrote "
                "(copy all of models/converted/<model>/<scheme>), or folders of such"
            )
        found |= dict.fromkeys(made)
    return tuple(found)


def merge_device(path: Path, new: DeviceFile) -> DeviceFile:
    """What is to be written: the file that is there, with what was measured anew in place of its like.

    Raises:
      UsageError: if the file is that of another device.
      ArtifactError: if it is none at all.
    """
    if not path.exists():
        return new
    old = read_json(DeviceFile, path)
    if old.device != new.device:
        raise UsageError(
            f"--out: {path} is of the device {old.device!r}, this is {new.device!r}; choose another file, or --device"
        )
    renewed = {cost.key for cost in new.costs}
    kept = tuple(cost for cost in old.costs if cost.key not in renewed)
    return replace(new, costs=tuple(sorted((*kept, *new.costs), key=lambda cost: cost.key)))


def benchmark_to_cost(benchmark: Benchmark, timed_on: str) -> DeviceCost:
    """What the project's own benchmark measured, as a row of a device file."""
    latency = benchmark.latency
    return DeviceCost(
        model=benchmark.model,
        scheme=benchmark.scheme,
        artifact_sha256=benchmark.artifact_sha256 or "",
        status=benchmark.status,
        reason=benchmark.reason,
        latency_mean_ms=latency.mean_ms if latency else None,
        latency_p50_ms=latency.p50_ms if latency else None,
        latency_p90_ms=latency.p90_ms if latency else None,
        runs=latency.runs if latency else 0,
        warmup=latency.warmup if latency else 0,
        init_ms=benchmark.init_ms,
        peak_rss_bytes=benchmark.peak_rss_bytes,
        num_threads=benchmark.num_threads,
        timed_on=timed_on,
        tool=OWN_TOOL,
        runtime=benchmark.runtime,
        delegate=benchmark.delegate,
    )


def _read_arguments(argv: Sequence[str]) -> argparse.Namespace:
    defaults = BenchmarkParams()
    parser = make_parser("benchmark", ABOUT, root=False)
    parser.add_argument("folders", nargs="+", type=Path, help="converted folders, or folders of such, copied here")
    parser.add_argument("--out", type=Path, required=True, help="device file to write, or to add to")
    parser.add_argument("--device", default="", help="its name in the report (default: this machine's)")
    parser.add_argument("--cpu", default="", help="its processor (default: what the system says)")
    parser.add_argument("--images", nargs="+", type=Path, default=[], help="timed in turn (default: noise)")
    parser.add_argument("--threads", type=int, default=defaults.num_threads, choices=range(1, 129), metavar="N")
    parser.add_argument("--runs", type=int, default=defaults.runs, choices=range(5, 100_001), metavar="N")
    parser.add_argument("--read", type=Path, help="output of benchmark_model on the device, instead of measuring here")
    args = read_args(parser, argv)
    if args.read and not (args.device.strip() and args.cpu.strip()):
        parser.error("--read needs --device and --cpu: the output does not say where it comes from")
    if args.read and args.images:
        parser.error("--images: benchmark_model has timed already, and --read only reads what it printed")
    if not args.out.absolute().parent.is_dir():
        parser.error(f"--out: no such folder: {args.out.absolute().parent}")
    return args


def _measure(folders: Sequence[Path], args: argparse.Namespace) -> tuple[DeviceCost, ...]:
    images = list_images(args.images)
    defaults, costs = BenchmarkParams(), list[DeviceCost]()
    for folder in folders:  # what is damaged is said before minutes are spent on the others
        read_artifact(folder, read_json(Conversion, folder / RESULT_FILE))
    for folder in folders:
        with tempfile.TemporaryDirectory(prefix="noise-") as scratch:
            benchmark = measure_cost(
                read_json(Conversion, folder / RESULT_FILE),
                folder=folder,
                exported=None,
                images=images or _write_noise(Path(scratch), folder),
                runs=args.runs,
                warmup=defaults.warmup,
                max_seconds=defaults.max_seconds,
                num_threads=args.threads,
            )
        print(summarize_benchmark(benchmark), flush=True)
        costs.append(benchmark_to_cost(benchmark, f"{len(images)} images" if images else "noise"))
    return tuple(costs)


def list_images(sources: Sequence[Path]) -> tuple[Path, ...]:
    """Image files that were named, and those directly in folders that were; each can be decoded.

    Raises:
      DataError: if there is no such file, or one that is no image; files beside the images of a folder are passed over.
    """
    found: list[Path] = []
    for source in sources:
        if not source.exists():
            raise DataError(f"--images: no such file or folder: {source}")
        files = sorted(source.iterdir()) if source.is_dir() else [source]
        images = [path for path in files if _is_image(path)]
        if not images:
            raise DataError(f"--images: {source}: {'no image in it' if source.is_dir() else 'not an image'}")
        found += images
    return tuple(found)


def _is_image(path: Path) -> bool:
    try:
        load_image(path)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError):
        return False
    return True


def _write_noise(scratch: Path, folder: Path) -> tuple[Path, ...]:
    """Random pixels of the input's size: what a file costs without anything to find."""
    generator, paths = np.random.default_rng(SEED), list[Path]()
    for index in range(NOISE_IMAGES):
        pixels = generator.integers(0, 256, (*read_interface(folder).input.size, 3), dtype=np.uint8)
        paths.append(scratch / f"{index}.png")
        Image.fromarray(pixels).save(paths[-1])
    return tuple(paths)
