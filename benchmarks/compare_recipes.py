"""Training recipes side by side: the same detector, data, seed and number of images, one recipe after the other.

`python benchmarks/compare_recipes.py --data synthetic bccd nuts` trains every recipe on every data set and prints box
and mask AP of the kept weights on val, as Model Garden's evaluator measures them. `--recipes` and `--models` choose
some; finished trainings in `--folder` are not repeated. A run of everything takes hours on 2 cores.

`--data synthetic_wide --recipes adamw_ema stretch` measures letterbox against stretch on images twice as wide as high.
"""

import argparse
import os
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

SGD: dict[str, Any] = {
    "optimizer": "sgd",
    "learning_rate": 0.02,
    "weight_decay": 0.00004,
    "warmup_steps": 100,
    "ema_decay": 0.0,
}
ADAMW: dict[str, Any] = {"optimizer": "adamw", "learning_rate": 0.002, "weight_decay": 0.01, "warmup_steps": 50}
RECIPES: dict[str, dict[str, Any]] = {
    "sgd": SGD,
    "sgd_ema": {**SGD, "ema_decay": "auto"},
    "adamw": {**ADAMW, "ema_decay": 0.0},
    "adamw_ema": {**ADAMW, "ema_decay": "auto"},
    "adamw_ema_1e-3": {**ADAMW, "ema_decay": "auto", "learning_rate": 0.001},
    "adamw_ema_3e-3": {**ADAMW, "ema_decay": "auto", "learning_rate": 0.003},
    "adamw_ema_1e-3_warmup_100": {**ADAMW, "ema_decay": "auto", "learning_rate": 0.001, "warmup_steps": 100},
    "batch_4": {"batch_size": 4},
    "batch_8": {"batch_size": 8},
    "orientation_free": {"augmentation": {"orientation_free": True}},
    "color_jitter": {"augmentation": {"color_jitter": 0.5}},
    "random_crop": {"augmentation": {"random_crop": 0.5}},
    "mosaic": {"augmentation": {"mosaic": 0.5}},
    "mix_up": {"augmentation": {"mix_up": 0.3}},
    "copy_paste": {"augmentation": {"copy_paste": 0.5}},
    "huber": {"losses": {"box": "huber"}},
    "giou": {"losses": {"box": "giou"}},
    "ciou": {"losses": {"box": "ciou"}},
    "quality_focal": {"losses": {"classes": "quality_focal"}},
    "varifocal": {"losses": {"classes": "varifocal"}},
    "atss": {"losses": {"assigner": "atss"}},
    "task_aligned": {"losses": {"assigner": "task_aligned", "box": "giou", "classes": "varifocal"}},
    "balanced": {"losses": {"class_weights": "balanced"}},
    "balanced_sampling": {"sampling": "balanced"},
    "dice": {"losses": {"mask": "dice"}},
    "bce_dice": {"losses": {"mask": "bce_dice"}},
    "stretch": {"resize": "stretch"},
    "learning_rate_floor": {"learning_rate_floor": 0.05},
    "fitted_anchors": {"anchors": {"fit": True}},
    "half_width": {"width": 0.5},
    "recalibrate_batch_norm": {"recalibrate_batch_norm": 400},
    "float32_math": {"bfloat16_math": False},
    "no_cache": {"image_cache_mb": 0},
}
"""Name to what it changes about params.yaml's defaults; from `batch_4` on one method each, beside `adamw_ema`."""
DATA: dict[str, dict[str, Any]] = {
    "synthetic": {"prepare": {"source": "synthetic"}, "train": {"common": {}}},
    "synthetic_wide": {
        "prepare": {"source": "synthetic", "synthetic": {"size": [128, 256]}},
        "train": {"common": {}},
    },
    "bccd": {
        "prepare": {"source": "voc", "path": "$DETECTION_SAMPLES/bccd/BCCD"},
        "train": {
            "common": {
                "input_size": [256, 320],
                "anchors": {"size": 2.5},
                "augmentation": {"scale_min": 0.9, "scale_max": 1.1},
                "losses": {"box": "giou"},
            }
        },
    },
    "nuts": {
        "prepare": {
            "source": "coco",
            "path": "$DETECTION_SAMPLES/nuts_mmdet/data",
            "annotations": "trainval.json",
            "images": "images",
            "split": {"val": 0.22},
        },
        "train": {
            "common": {"input_size": [320, 320], "augmentation": {"scale_min": 0.7, "scale_max": 1.5}},
        },
    },
}
CASES: dict[tuple[str, str], dict[str, Any]] = {
    ("synthetic", "retinanet_mobiledet_edgetpu"): {"steps": 400, "batch_size": 8},
    ("synthetic", "maskrcnn_mobiledet"): {"steps": 400, "batch_size": 4},
    ("synthetic_wide", "retinanet_mobiledet_edgetpu"): {"steps": 400, "batch_size": 8},
    ("synthetic_wide", "maskrcnn_mobiledet"): {"steps": 400, "batch_size": 4},
    ("bccd", "retinanet_mobiledet_edgetpu"): {"steps": 600, "batch_size": 4},
    ("nuts", "maskrcnn_mobiledet"): {"steps": 600, "batch_size": 4},
}
"""(data set, model) to the length of its trainings."""


def prepare(folder: Path, data: str) -> Layout:
    """Prepares a data set once."""
    layout = Layout(folder / data)
    if not layout.labels.is_file():
        write_params(layout, data, "retinanet_mobiledet_edgetpu", {})
        run_stage_in(layout, "prepare")
    return layout


def write_params(layout: Layout, data: str, model: str, settings: dict[str, Any]) -> None:
    """A params.yaml for one training."""
    tree = yaml.safe_load(os.path.expandvars(yaml.safe_dump(DATA[data])))
    tree |= {"models": [model], "schemes": ["float32"]}
    tree["train"][model] = {**settings, "validation_interval": settings.get("steps", 1)}
    layout.root.mkdir(parents=True, exist_ok=True)
    layout.params.write_text(yaml.safe_dump(tree))


def train(prepared: Layout, folder: Path, data: str, model: str, recipe: str, changes: dict[str, Any]) -> TrainResult:
    """Trains one recipe in a folder of its own, unless that is done already."""
    layout = Layout(folder / f"{data}-{model}-{recipe}")
    result = layout.variant(model, "trained") / RESULT_FILE
    if not result.is_file():
        settings = {**CASES[data, model], **RECIPES[recipe], **changes}
        if "steps" not in {**RECIPES[recipe], **changes}:
            images = CASES[data, model]["steps"] * CASES[data, model]["batch_size"]
            settings["steps"] = images // settings["batch_size"]
        write_params(layout, data, model, settings)
        share_data(prepared, layout)
        run_stage_in(layout, "train", "--model", model)
    return read_json(TrainResult, result)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one line per training."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--models", nargs="+", choices=sorted({model for _, model in CASES}))
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--set", default="{}", help="more settings for all recipes, e.g. '{steps: 800, seed: 1}'")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "recipes")
    args = parser.parse_args(argv)
    changes = yaml.safe_load(args.set)
    print(f"{'data':<15} {'model':<20} {'recipe':<22} {'box AP':>7} {'mask AP':>8} {'minutes':>8}", flush=True)
    for (data, model), _ in CASES.items():
        if data not in args.data or (args.models and model not in args.models):
            continue
        prepared = prepare(args.folder, data)
        for recipe in args.recipes:
            result = train(prepared, args.folder, data, model, recipe, changes)
            box, mask = (result.validation.get(f"{kind}_ap") for kind in ("box", "mask"))
            shown = " ".join(
                f"{'-' if value is None else format(value, '.1f'):>{w}}" for value, w in ((box, 7), (mask, 8))
            )
            print(f"{data:<15} {model:<20} {recipe:<22} {shown} {result.seconds / 60:>8.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
