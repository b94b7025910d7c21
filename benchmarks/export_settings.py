"""What the settings of `export` cost: AP lost against the weights as trained, and the latency that the loss buys.

`python benchmarks/export_settings.py PROJECT [--model maskrcnn_mobiledet] [--proposals 50 100 200 500]
[--score-thresholds 0.05 0.01 0.001] [--folder runs/export_settings]` takes a project whose model is trained, exports
it with every combination, evaluates the float32 and int8 files on val and times all files of a scheme in turns on the
same images. It prints a table: box and mask AP, what is lost against `train`'s own evaluation, and the median latency
with its ratio to the first row's. One-stage models have no proposals: only the thresholds vary.

Finished combinations are kept in the folder and not made again; only the timing is.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.runs import ROOT, run_stage_in, share_data, share_weights
from benchmarks.side_by_side import NUM_THREADS, time_in_turn
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import INTERFACE_FILE, RESULT_FILE, Layout
from stages.core.datasets.prepared import load_image
from stages.core.processing.preprocess import preprocess_image
from stages.core.results.conversion import Conversion
from stages.core.results.training import TrainResult
from stages.core.results.validation import Validation
from stages.core.running.artifact import read_artifact
from stages.core.running.open import RUNNERS
from stages.core.tables.detectors import DETECTORS

IMAGES = 10
"""Images of the evaluation split on which files are timed: latency depends on how much is found."""


@dataclass(frozen=True)
class Setting:
    """One combination; `proposals` is None for a one-stage model."""

    proposals: int | None
    threshold: float

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"proposals-{self.proposals}-score-{self.threshold:g}"

    def changes(self) -> dict[str, Any]:
        """Of the `export` section."""
        proposals = {} if self.proposals is None else {"num_proposals": self.proposals}
        return {"score_threshold": self.threshold, **proposals}


def make_files(project: Layout, folder: Path, model: str, schemes: Sequence[str], setting: Setting) -> Layout:
    """Exports, converts and evaluates, as far as that is not done."""
    layout = Layout(folder / setting.name)
    tree = yaml.safe_load(project.params.read_text())
    tree = {**tree, "models": [model], "schemes": list(schemes)}
    tree["export"] = {**tree.get("export", {}), **setting.changes()}
    tree["validate"] = {**tree.get("validate", {}), "split": "val", "max_seconds": 3600}  # all images, as train's own
    layout.root.mkdir(parents=True, exist_ok=True)
    layout.params.write_text(yaml.safe_dump(tree))
    share_data(project, layout)
    share_weights(project, layout, model)
    if not (layout.exported(model, "trained") / INTERFACE_FILE).is_file():
        run_stage_in(layout, "export", "--model", model)
        run_stage_in(layout, "reference", "--model", model)
    for scheme in schemes:
        if not layout.validated(model, scheme).is_file():
            run_stage_in(layout, "convert", "--model", model, "--scheme", scheme)
            run_stage_in(layout, "validate", "--model", model, "--scheme", scheme)
    return layout


def find_images(project: Layout) -> list[Path]:
    """The images on which files are timed."""
    found = sorted(path for path in project.split("val").rglob("*") if path.suffix in (".jpg", ".png"))
    return found[:IMAGES]


def open_on_images(layout: Layout, model: str, scheme: str, images: Sequence[Path]) -> Callable[[], None]:
    """A function that runs the converted file once on each of the images."""
    folder = layout.converted(model, scheme)
    artifact = read_artifact(folder, read_json(Conversion, folder / RESULT_FILE))
    runner = RUNNERS[artifact.backend]()(artifact, NUM_THREADS, False)
    tensors = [preprocess_image(load_image(image), artifact.interface.input)[0] for image in images]

    def run() -> None:
        for tensor in tensors:
            runner.infer(tensor)

    return run


def read_aps(layout: Layout, model: str, scheme: str) -> dict[str, float]:
    """Box AP, and mask AP where there are masks, in points."""
    accuracy = read_json(Validation, layout.validated(model, scheme)).accuracy
    if accuracy is None:
        raise SystemExit(f"{layout.validated(model, scheme)}: not evaluated")
    masks = {} if accuracy.mask is None else {"mask_ap": accuracy.mask.ap or 0.0}
    return {"box_ap": accuracy.box.ap or 0.0, **masks}


def print_scheme(
    layouts: dict[Setting, Layout],
    trained: dict[str, float],
    images: Sequence[Path],
    args: argparse.Namespace,
    scheme: str,
) -> None:
    """The table of one scheme."""
    runs = {setting.name: open_on_images(layout, args.model, scheme, images) for setting, layout in layouts.items()}
    times = time_in_turn(runs, rounds=args.rounds)
    first = times[next(iter(runs))].median_ms
    print(f"\n{args.model} {scheme}: {len(images)} images in turn, {args.rounds} rounds")
    keys = [key for key in ("box_ap", "mask_ap") if trained.get(key) is not None]
    head = "".join(f"{key.replace('_ap', ' AP'):>9} {'lost':>6}" for key in keys)
    print(f"{'proposals':>9} {'score':>7} {head} {'ms':>8} {'ratio':>6}")
    for setting, layout in layouts.items():
        aps = read_aps(layout, args.model, scheme)
        cells = "".join(f"{aps[key]:>9.1f} {trained[key] - aps[key]:>6.2f}" for key in keys)
        time = times[setting.name].median_ms
        proposals = "-" if setting.proposals is None else setting.proposals
        print(
            f"{proposals:>9} {setting.threshold:>7g} {cells} {time / len(images):>8.1f} {time / first:>6.2f}",
            flush=True,
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Makes what is missing, then prints one table per scheme."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="folder with params.yaml, data/prepared and models/trained")
    parser.add_argument("--model", default="maskrcnn_mobiledet", choices=sorted(DETECTORS))
    parser.add_argument("--schemes", nargs="+", default=["float32", "int8"])
    parser.add_argument("--proposals", nargs="+", type=int, default=[50, 100, 200, 500])
    parser.add_argument("--score-thresholds", nargs="+", type=float, default=[0.05, 0.01, 0.001])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "export_settings")
    args = parser.parse_args(argv)
    project = Layout(args.project.resolve())
    result = project.variant(args.model, "trained") / RESULT_FILE
    if not result.is_file():
        parser.error(f"{result}: not there; train the model first")
    trained = {key: value for key, value in read_json(TrainResult, result).validation.items() if value is not None}
    proposals = args.proposals if DETECTORS[args.model].has_masks else [None]
    settings = [Setting(*pair) for pair in itertools.product(proposals, args.score_thresholds)]
    folder = args.folder.resolve() / f"{project.root.name}-{args.model}"
    layouts = {setting: make_files(project, folder, args.model, args.schemes, setting) for setting in settings}
    shown = ", ".join(f"{key} {trained[key]:.1f}" for key in ("box_ap", "mask_ap") if key in trained)
    print(f"as trained, on val by train's own evaluation: {shown}")
    for scheme in args.schemes:
        print_scheme(layouts, trained, find_images(project), args, scheme)


if __name__ == "__main__":
    main()
