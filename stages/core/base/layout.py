"""Every path and file name under data/ and models/, once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

RESULT_FILE = "result.json"
"""In a folder of weights and in a converted folder: what was made, or why it was not."""
EXPERIMENT_FILE, HISTORY_FILE, REFINEMENT_FILE = "experiment.yaml", "history.json", "refinement.json"
"""In a folder of weights: resolved configuration, losses and AP by step, and what a refinement depends on."""
TRAIN_LOG = "train.log"
START_FILE, HISTORY_LINES = "training.json", "history.jsonl"
"""In the work folder of a training in progress: what it is, and its history so far, line by line."""
SAVED_MODEL = "saved_model"
TFLITE_FILES: Mapping[str, str] = MappingProxyType(
    {"builtin": "model.tflite", "postprocess_op": "postprocess_op.tflite"}
)
"""Float32 files in an exported folder, by `Form`; the second only for one-stage detectors."""
QUANTIZED_FILE = "quantized.tflite"
"""In an exported folder: a finished uint8 file up to its heads; only of brought graphs with fake-quant nodes."""
INTERFACE_FILE, PROOF_FILE = "interface.json", "proof.json"
LABEL_LIST_FILE = "labels.txt"
"""Class names, one a line, beside every converted file and inside those that mobile libraries read."""
MODEL_FILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"tflite": ("model.tflite",), "openvino": ("model.xml", "model.bin")}
)
"""In a converted folder beside its JSON files, by `Backend`; the model file first."""
ANNOTATIONS_FILE, LABELS_FILE, LABEL_MAP_FILE = "annotations.json", "labels.json", "label_map.pbtxt"
CALIBRATION_FILE, PREPARE_REPORT_FILE = "calibration.json", "report.json"
METRICS_FILE, MARKDOWN_FILE, PAGE_FILE = "metrics.json", "report.md", "index.html"
PARAMS_FILE = "params.yaml"
BROUGHT_FOLDER = "models/brought"
"""Where models that somebody else has finished are put: tracked, and a dependency of `export`."""
DEVICES_FOLDER = "models/devices"
"""Where files measured on other machines are put: in git, and a dependency of `report`."""
BROUGHT_FILE = "brought.json"
"""In an exported folder of a brought model: what was found out about its file."""
PROJECT_VARIABLE = "PIPELINE_PROJECT"
"""Environment variable, set where the pipeline runs in a folder of its own: the checkout that it was started in."""


def show_path(path: Path) -> str:
    """A path as the user can open it: relative to where the pipeline was started if it is below, else absolute."""
    here = Path(os.environ.get(PROJECT_VARIABLE) or Path.cwd())
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


@dataclass(frozen=True)
class Layout:
    """Where everything is below the project's root.

    Attributes:
      root: Folder that holds dvc.yaml and params.yaml.
    """

    root: Path

    @property
    def params(self) -> Path:
        return self.root / PARAMS_FILE

    @property
    def dvc_lock(self) -> Path:
        return self.root / "dvc.lock"

    @property
    def prepared(self) -> Path:
        """Splits, labels, calibration list and report that `prepare` writes."""
        return self.root / "data" / "prepared"

    def split(self, split: str) -> Path:
        return self.prepared / split

    def annotations(self, split: str) -> Path:
        """COCO JSON of one split; image and category ids are normalised (from 1)."""
        return self.split(split) / ANNOTATIONS_FILE

    @property
    def labels(self) -> Path:
        return self.prepared / LABELS_FILE

    @property
    def label_map(self) -> Path:
        """The labels in the format of the TF Object Detection API."""
        return self.prepared / LABEL_MAP_FILE

    @property
    def calibration(self) -> Path:
        return self.prepared / CALIBRATION_FILE

    @property
    def prepare_report(self) -> Path:
        return self.prepared / PREPARE_REPORT_FILE

    @property
    def models(self) -> Path:
        """One folder per kind of result, then per model: so `report` can depend on all results of a kind at once."""
        return self.root / "models"

    @property
    def checked(self) -> Path:
        """That `check` has passed: `train` depends on it so as to come later."""
        return self.models / "checked.txt"

    def variant(self, model: str, variant: str) -> Path:
        """Weights of one variant: `trained`, `pruned`, `qat` or `pruned_qat`."""
        return self.models / variant / model

    def exported(self, model: str, variant: str) -> Path:
        return self.models / "exported" / model / variant

    def reference(self, model: str) -> Path:
        """Outputs of the float model on the evaluation split."""
        return self.models / "reference" / f"{model}.npz"

    def converted(self, model: str, scheme: str) -> Path:
        return self.models / "converted" / model / scheme

    def validated(self, model: str, scheme: str) -> Path:
        return self.models / "validated" / model / f"{scheme}.json"

    def validated_outputs(self, model: str, scheme: str) -> Path:
        """Outputs of the converted file on the images that `report` may show, in the format of the reference."""
        return self.models / "validated" / model / f"{scheme}.npz"

    def benchmarked(self, model: str, scheme: str) -> Path:
        return self.models / "benchmarked" / model / f"{scheme}.json"

    @property
    def devices(self) -> Path:
        """What other machines measured, one JSON file a device."""
        return self.root / DEVICES_FOLDER

    @property
    def report(self) -> Path:
        return self.models / "report"

    @property
    def metrics(self) -> Path:
        return self.report / METRICS_FILE

    @property
    def work(self) -> Path:
        """Training in progress: outside DVC's outs, because DVC deletes those before a rerun."""
        return self.root / "work"
