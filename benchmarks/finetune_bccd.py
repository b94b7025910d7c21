"""Blood cells from a published backbone and from random weights: what 300 steps reach either way.

`python benchmarks/finetune_bccd.py [--checkpoint GRAPH.pb] [--steps 300] [--seeds 0] [--folder runs/finetune]` trains
`ssdlite_mobilenetv2` on BCCD twice with the same parameters: once with the backbone of a published detector, once from
random weights. It prints box AP and AP50 of the kept weights on val, as Model Garden's evaluator measures them, and the
difference. The goal is 5 points of AP.

Without `--checkpoint`, the frozen graph in `$DETECTION_SAMPLES` is taken (SSDLite MobileNetV2, a person detector): only
its backbone can help with blood cells. Any other source of `init_checkpoint` will do, e.g. `zoo:ssdlite_mobilenetv2`.
Finished trainings are kept in the folder and not repeated. 300 steps take some ten minutes on 2 cores.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.runs import ROOT, run_stage_in, share_data
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import RESULT_FILE, Layout
from stages.core.results.training import TrainResult

MODEL = "ssdlite_mobilenetv2"
GRAPH = "tfod/frozen/ssdlite_mobilenetv2_pedestrian_frozen_inference_graph.pb"
GOAL = 5.0
"""Points of box AP."""
SETTINGS: dict[str, Any] = {
    "input_size": [320, 320],
    "batch_size": 8,
    "warmup_steps": 30,
    "ssd_anchors": {"min_scale": 0.15},  # platelets are small
}


def train_once(prepared: Layout, folder: Path, name: str, changes: dict[str, Any]) -> TrainResult:
    """The result of one training, made unless it is there already."""
    layout = Layout(folder / name)
    result = layout.variant(MODEL, "trained") / RESULT_FILE
    if not result.is_file():
        write_params(layout, changes)
        share_data(prepared, layout)
        run_stage_in(layout, "train", "--model", MODEL)
    return read_json(TrainResult, result)


def write_params(layout: Layout, changes: dict[str, Any]) -> None:
    """A params.yaml for one run: the data of examples/bccd.yaml, one evaluation, at the end."""
    example = yaml.safe_load(os.path.expandvars((ROOT / "examples" / "bccd.yaml").read_text()))
    tree = {
        "models": [MODEL],
        "schemes": ["float32"],
        "prepare": example["prepare"],
        "train": {MODEL: {**SETTINGS, "validation_interval": 10**6, **changes}},
    }
    layout.root.mkdir(parents=True, exist_ok=True)
    layout.params.write_text(yaml.safe_dump(tree))


def main(argv: Sequence[str] | None = None) -> None:
    """Trains what is missing, and prints both APs and the difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="what `init_checkpoint` says")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/finetune"))
    args = parser.parse_args(argv)
    samples = os.environ.get("DETECTION_SAMPLES")
    if samples is None:
        parser.error("DETECTION_SAMPLES must name the folder with bccd/")
    checkpoint = args.checkpoint or str(Path(samples).resolve() / GRAPH)
    prepared = Layout(args.folder.resolve() / "data")
    write_params(prepared, {})
    if not prepared.prepare_report.is_file():
        run_stage_in(prepared, "prepare")
    starts = {"published": {"init_checkpoint": checkpoint, "init_modules": ["backbone"]}, "random": {}}
    found: dict[str, list[float]] = {name: [] for name in starts}
    for seed in args.seeds:
        for name, start in starts.items():
            folder = f"{name}-{args.steps}-steps-seed-{seed}"
            result = train_once(prepared, args.folder.resolve(), folder, {"steps": args.steps, "seed": seed, **start})
            ap, ap50 = (result.validation[key] or 0.0 for key in ("box_ap", "box_ap50"))
            print(f"{name:<10} seed {seed}: box AP {ap:.1f}, AP50 {ap50:.1f} on val after {result.steps} steps")
            found[name].append(ap)
    means = {name: statistics.mean(values) for name, values in found.items()}
    gain = means["published"] - means["random"]
    verdict = "reached" if gain >= GOAL else "missed"
    print(
        f"from {checkpoint}: {means['published']:.1f}; from random weights: {means['random']:.1f}; {gain:+.1f} points"
    )
    print(f"goal of {GOAL:+g} points: {verdict}")


if __name__ == "__main__":
    main()
