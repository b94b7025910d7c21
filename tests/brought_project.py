"""A project on disk with prepared data and brought models; and the stages on them, in this process."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from stages.core.base.jsonfile import write_json
from stages.core.base.layout import Layout
from stages.core.results.preparation import PrepareReport, SplitSummary
from tests.exported_project import write_prepared

COUNTS = dict.fromkeys(
    [f"{kind}_{fate}" for kind in ("images", "objects") for fate in ("found", "kept", "repaired", "rejected")], 0
)
EXPORT = {"max_detections": 20, "score_threshold": 0.3, "nms_iou_threshold": 0.5}


def write_brought_project(root: Path, brought: dict[str, Any]) -> Layout:
    """params.yaml with these models, prepared data of circles, squares and triangles."""
    layout = Layout(root)
    root.mkdir(parents=True, exist_ok=True)
    tree = {
        "models": list(brought),
        "schemes": ["float32", "int8"],
        "brought": brought,
        "train": {name: {} for name in brought},
        "export": EXPORT,
        "convert": {"calibration_images": 4},
        "validate": {"agreement_score": 0.3},
    }
    layout.params.write_text(yaml.safe_dump(tree))
    write_prepared(layout)
    summary = SplitSummary(num_images=6, num_objects=1, objects_per_class={}, sha256="5" * 64)
    report = PrepareReport(source="hand", **COUNTS, reasons={}, fates=(), splits={"val": summary}, sha256="6" * 64)
    write_json(report, layout.prepare_report)
    return layout


def call(layout: Layout, stage: str, model: str, **options: str) -> None:
    """Runs one stage on one model, as its command does."""
    args = [part for name, value in options.items() for part in (f"--{name}", value)]
    assert import_module(f"stages.{stage}").main(["--model", model, *args, "--root", str(layout.root)]) == 0


def make_row(layout: Layout, model: str, scheme: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Converts and validates one row; its two results."""
    for stage in ("convert", "validate"):
        call(layout, stage, model, scheme=scheme)
    conversion = json.loads((layout.converted(model, scheme) / "result.json").read_text())
    return conversion, json.loads(layout.validated(model, scheme).read_text())
