"""What the settings of `export` cost: AP lost against the weights as trained, and the latency that the loss buys.

`python benchmarks/export_settings.py PROJECT [--model maskrcnn_mobiledet] [--proposals 50 100 200 500]
[--candidates 400] [--overlaps 0.7 0.5] [--score-thresholds 0.05 0.001] [--folder runs/export_settings]
[--plot FILE.svg]` takes a project whose model is trained, exports it with every combination, evaluates the float32 and
int8 files on val and times all files of a scheme in turns on the same images. It prints a table: box and mask AP, what
is lost against `train`'s own evaluation, and the median latency with its ratio to the first row's. `--plot` draws AP of
the last scheme over latency, with a line for each number of candidates, overlap and threshold. One-stage models have no
proposals: only the thresholds vary.

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

KINDS = ("box_ap", "mask_ap")


@dataclass(frozen=True)
class Setting:
    """One combination; a one-stage model has neither proposals nor an overlap of theirs."""

    proposals: int | None
    candidates: int | None
    overlap: float | None
    threshold: float

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"proposals-{self.proposals}-of-{self.candidates}-overlap-{self.overlap}-score-{self.threshold:g}"

    def changes(self) -> dict[str, Any]:
        """Of the `export` section."""
        regions = {
            "num_proposals": self.proposals,
            "proposal_pre_nms_top_k": self.candidates,
            "proposal_nms_iou_threshold": self.overlap,
        }
        return {
            "score_threshold": self.threshold,
            **{key: value for key, value in regions.items() if value is not None},
        }


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


def measure_scheme(
    layouts: dict[Setting, Layout], images: Sequence[Path], model: str, scheme: str, rounds: int
) -> dict[Setting, tuple[dict[str, float], float]]:
    """AP, and the median latency of one image in milliseconds, of every file of a scheme."""
    runs = {setting.name: open_on_images(layout, model, scheme, images) for setting, layout in layouts.items()}
    times = time_in_turn(runs, rounds=rounds)
    return {
        setting: (read_aps(layout, model, scheme), times[setting.name].median_ms / len(images))
        for setting, layout in layouts.items()
    }


def print_measured(measured: dict[Setting, tuple[dict[str, float], float]], trained: dict[str, float]) -> None:
    """The table of one scheme."""
    keys = [key for key in KINDS if trained.get(key) is not None]
    head = "".join(f"{key.replace('_ap', ' AP'):>9} {'lost':>6}" for key in keys)
    print(f"{'proposals':>9} {'of':>6} {'overlap':>8} {'score':>7} {head} {'ms':>8} {'ratio':>6}")
    first = next(iter(measured.values()))[1]
    for setting, (aps, time) in measured.items():
        cells = "".join(f"{aps[key]:>9.1f} {trained[key] - aps[key]:>6.2f}" for key in keys)
        regions = f"{setting.proposals or '-':>9} {setting.candidates or '-':>6} {setting.overlap or '-':>8}"
        named = f"{regions} {setting.threshold:>7g}"
        print(f"{named} {cells} {time:>8.1f} {time / first:>6.2f}", flush=True)


def _line_of(setting: Setting) -> tuple[int | None, float | None, float]:
    """What the points of one line in the plot share."""
    return setting.candidates, setting.overlap, setting.threshold


def plot_measured(
    measured: dict[Setting, tuple[dict[str, float], float]], trained: dict[str, float], file: Path
) -> None:
    """AP over latency, a panel for boxes and one for masks; points are labelled with the number of proposals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    keys = [key for key in KINDS if trained.get(key) is not None]
    figure, panels = pyplot.subplots(1, len(keys), figsize=(4.6 * len(keys), 3.4), squeeze=False, layout="constrained")
    for panel, key in zip(panels[0], keys, strict=True):
        for candidates, overlap, threshold in dict.fromkeys(map(_line_of, measured)):
            line = [
                (*found, each) for each, found in measured.items() if _line_of(each) == (candidates, overlap, threshold)
            ]
            regions = "" if overlap is None else f"of {candidates}, overlap {overlap:g}, "
            named = f"{regions}score {threshold:g}"
            panel.plot([time for _, time, _ in line], [aps[key] for aps, _, _ in line], marker="o", ms=4, label=named)
            for aps, time, each in line:
                panel.annotate(
                    str(each.proposals or ""), (time, aps[key]), xytext=(4, -9), textcoords="offset points", fontsize=7
                )
        panel.axhline(trained[key], color="grey", lw=0.8, ls="--", label="as trained")
        panel.set(xlabel="latency p50, ms", ylabel=key.replace("_ap", " AP"))
        panel.grid(alpha=0.3)
    panels[0][-1].legend(fontsize=7)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def main(argv: Sequence[str] | None = None) -> None:
    """Makes what is missing, then prints one table per scheme."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="folder with params.yaml, data/prepared and models/trained")
    parser.add_argument("--model", default="maskrcnn_mobiledet", choices=sorted(DETECTORS))
    parser.add_argument("--schemes", nargs="+", default=["float32", "int8"])
    parser.add_argument("--proposals", nargs="+", type=int, default=[50, 100, 200, 500])
    parser.add_argument("--candidates", nargs="+", type=int, default=[400], help="of each level, for the proposals")
    parser.add_argument("--score-thresholds", nargs="+", type=float, default=[0.05, 0.001])
    parser.add_argument("--overlaps", nargs="+", type=float, default=[0.7, 0.5], help="of the suppression of proposals")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "export_settings")
    parser.add_argument("--plot", type=Path, help="picture of the last scheme's AP over latency, .svg or .png")
    args = parser.parse_args(argv)
    project = Layout(args.project.resolve())
    result = project.variant(args.model, "trained") / RESULT_FILE
    if not result.is_file():
        parser.error(f"{result}: not there; train the model first")
    trained = {key: value for key, value in read_json(TrainResult, result).validation.items() if value is not None}
    chosen = (args.proposals, args.candidates, args.overlaps)
    regions = chosen if DETECTORS[args.model].has_masks else ([None], [None], [None])
    settings = [Setting(*combination) for combination in itertools.product(*regions, args.score_thresholds)]
    folder = args.folder.resolve() / f"{project.root.name}-{args.model}"
    layouts = {setting: make_files(project, folder, args.model, args.schemes, setting) for setting in settings}
    shown = ", ".join(f"{key} {trained[key]:.1f}" for key in KINDS if key in trained)
    print(f"as trained, on val by train's own evaluation: {shown}")
    for scheme in args.schemes:
        images = find_images(project)
        print(f"\n{args.model} {scheme}: {len(images)} images in turn, {args.rounds} rounds")
        measured = measure_scheme(layouts, images, args.model, scheme, args.rounds)
        print_measured(measured, trained)
        if args.plot and scheme == args.schemes[-1]:
            plot_measured(measured, trained, args.plot)


if __name__ == "__main__":
    main()
