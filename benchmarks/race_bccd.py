"""Blood cells against the clock: how good a detector is after 5, 15 and 45 minutes of training from scratch.

`python benchmarks/race_bccd.py [--minutes 5 15 45] [--seeds 0 1 2] [--folder runs/race]` trains
`retinanet_mobiledet_edgetpu` by examples/bccd.yaml for so long, converts it to float32 and int8, and measures both
files on BCCD's official test list: box AP, AP50, AP75 in points, and latency. It prints a line per file, then means
and spreads. Minutes are minutes of training steps, graph tracing included; the evaluation at the end is not.

Where Ultralytics is installed, its yolo11n trains from scratch for as long, at the same input size, and is measured on
the same list by the same evaluator (`--no-ultralytics` leaves it out). It is no dependency of this project: its licence
is AGPL-3.0. Without it, what it once reached in 15 minutes is stated. Finished runs are kept in the folder and not
repeated. Leave the machine alone meanwhile.
"""

import argparse
import importlib.util
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.race_ultralytics import race_ultralytics
from benchmarks.runs import ROOT, run_stage_in, share_data
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import RESULT_FILE, Layout
from stages.core.results.benchmark import Benchmark
from stages.core.results.training import TrainResult
from stages.core.results.validation import Validation

EXAMPLE = ROOT / "examples" / "bccd.yaml"
MODEL = "retinanet_mobiledet_edgetpu"
SCHEMES = ("float32", "int8")
STATED = "yolo11n from scratch, 15 minutes on 2 cores, 320 pixels, test list: AP 52.3, AP50 83.5 (measured once)"
"""Printed where Ultralytics is not installed."""


@dataclass(frozen=True, kw_only=True)
class Finish:
    """One file at the end of one run.

    Attributes:
      what: Model and scheme.
      minutes, seed: Of the run.
      ap, ap50, ap75: Box AP on the test list in points.
      latency_ms: Median of one inference on 2 threads; None where not measured.
      images: Training images seen.
    """

    what: str
    minutes: float
    seed: int
    ap: float
    ap50: float
    ap75: float
    latency_ms: float | None
    images: int


def race(prepared: Layout, folder: Path, minutes: float, seed: int, changes: dict[str, Any]) -> list[Finish]:
    """Trains once and measures the files, unless that is done already."""
    layout = Layout(folder / f"{minutes:g}-minutes-seed-{seed}")
    write_params(layout, {"max_minutes": minutes, "seed": seed, **changes})
    share_data(prepared, layout)
    if not (layout.variant(MODEL, "trained") / RESULT_FILE).is_file():
        run_stage_in(layout, "train", "--model", MODEL)
    training = read_json(TrainResult, layout.variant(MODEL, "trained") / RESULT_FILE)
    if not layout.benchmarked(MODEL, SCHEMES[-1]).is_file():
        run_stage_in(layout, "export", "--model", MODEL)
        run_stage_in(layout, "reference", "--model", MODEL)
        for scheme in SCHEMES:
            for stage in ("convert", "validate", "benchmark"):
                run_stage_in(layout, stage, "--model", MODEL, "--scheme", scheme)
    return [read_finish(layout, scheme, minutes, seed, training) for scheme in SCHEMES]


def read_finish(layout: Layout, scheme: str, minutes: float, seed: int, training: TrainResult) -> Finish:
    """What the stages measured of one file."""
    judged = read_json(Validation, layout.validated(MODEL, scheme))
    timed = read_json(Benchmark, layout.benchmarked(MODEL, scheme))
    if judged.accuracy is None:
        raise SystemExit(f"{layout.validated(MODEL, scheme)}: no box AP ({judged.reason})")
    box, batch = judged.accuracy.box, train_section()["batch_size"]
    return Finish(
        what=f"{MODEL} {scheme}",
        minutes=minutes,
        seed=seed,
        ap=box.ap or 0.0,
        ap50=box.ap50 or 0.0,
        ap75=box.ap75 or 0.0,
        latency_ms=timed.latency.p50_ms if timed.latency else None,
        images=training.steps * batch,
    )


def train_section() -> dict[str, Any]:
    """`train.<model>` of the example."""
    section: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())["train"][MODEL]
    return section


def write_params(layout: Layout, changes: dict[str, Any]) -> None:
    """A params.yaml for one run."""
    tree = yaml.safe_load(os.path.expandvars(EXAMPLE.read_text()))
    tree["schemes"] = list(SCHEMES)
    # One evaluation, at the end: what comes in between would count for nothing here.
    tree["train"][MODEL] = {**tree["train"][MODEL], "validation_interval": 10**6, **changes}
    layout.root.mkdir(parents=True, exist_ok=True)
    layout.params.write_text(yaml.safe_dump(tree))


def summarize(finishes: Sequence[Finish]) -> list[str]:
    """Mean and spread (largest minus smallest) over the seeds, one line per length and file."""
    groups: dict[tuple[float, str], list[Finish]] = {}
    for finish in finishes:
        groups.setdefault((finish.minutes, finish.what), []).append(finish)
    lines = [f"{'minutes':>7}  {'file':<26} {'seeds':>5} {'AP':>12} {'AP50':>12} {'AP75':>12} {'ms':>7} {'images':>8}"]
    for (minutes, what), group in sorted(groups.items()):
        columns = []
        for name in ("ap", "ap50", "ap75"):
            values = [getattr(finish, name) for finish in group]
            columns.append(f"{statistics.mean(values):5.1f} ± {(max(values) - min(values)) / 2:.1f}".rjust(12))
        times = [finish.latency_ms for finish in group if finish.latency_ms is not None]
        latency = f"{statistics.median(times):.1f}" if times else "-"
        images = round(statistics.mean(finish.images for finish in group))
        lines.append(f"{minutes:>7g}  {what:<26} {len(group):>5} {' '.join(columns)} {latency:>7} {images:>8}")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one line per file, then the summary."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--minutes", nargs="+", type=float, default=[5.0, 15.0, 45.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "race")
    parser.add_argument("--set", default="{}", help="settings laid over the example's, e.g. '{learning_rate: 0.001}'")
    parser.add_argument("--no-ultralytics", action="store_true")
    args = parser.parse_args(argv)
    if "DETECTION_SAMPLES" not in os.environ:
        parser.error("set DETECTION_SAMPLES to the folder that holds bccd/BCCD")
    folder, changes = args.folder.resolve(), yaml.safe_load(args.set)
    prepared = Layout(folder / "data")
    if not prepared.labels.is_file():
        write_params(prepared, {})
        run_stage_in(prepared, "prepare")
    has_ultralytics = not args.no_ultralytics and importlib.util.find_spec("ultralytics") is not None
    runs: list[Finish] = []
    for minutes in args.minutes:
        for seed in args.seeds:
            found = race(prepared, folder, minutes, seed, changes)
            if has_ultralytics:
                measured = race_ultralytics(prepared, folder, minutes, seed, side=max(train_section()["input_size"]))
                found += [Finish(minutes=minutes, seed=seed, **values) for values in measured]
            for finish in found:
                print(finish, flush=True)
            runs += found
    print("\n".join(summarize(runs)))
    if not has_ultralytics:
        print(STATED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
