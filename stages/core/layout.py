"""Every path under data/ and models/, once."""

from dataclasses import dataclass
from pathlib import Path

from stages.core.schemes import Form

SAVED_MODEL = "saved_model"
TFLITE_FILES = {Form.BUILTIN: "model.tflite", Form.POSTPROCESS_OP: "postprocess_op.tflite"}
"""Float32 files in an exported folder, by how suppression ends them; the second only for one-stage detectors."""


@dataclass(frozen=True)
class Layout:
    """Where things lie below the project's root.

    Attributes:
      root: Folder that holds dvc.yaml and params.yaml.
    """

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

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
        return self.split(split) / "annotations.json"

    @property
    def labels(self) -> Path:
        return self.prepared / "labels.json"

    @property
    def calibration(self) -> Path:
        return self.prepared / "calibration.json"

    @property
    def prepare_report(self) -> Path:
        return self.prepared / "report.json"

    @property
    def models(self) -> Path:
        """One folder per kind of result, then per model: so `report` can depend on all results of a kind at once."""
        return self.root / "models"

    def variant(self, model: str, variant: str) -> Path:
        """Weights of one variant: `trained`, later also `pruned` and `qat`."""
        return self.models / variant / model

    def exported(self, model: str, variant: str) -> Path:
        return self.models / "exported" / model / variant

    def converted(self, model: str, scheme: str) -> Path:
        return self.models / "converted" / model / scheme

    def validated(self, model: str, scheme: str) -> Path:
        return self.models / "validated" / model / f"{scheme}.json"

    def moved(self, model: str, scheme: str) -> Path:
        """Outputs of the judged file on the pictures that `report` shows (same format as reference.npz)."""
        return self.models / "validated" / model / f"{scheme}.npz"

    def benchmarked(self, model: str, scheme: str) -> Path:
        return self.models / "benchmarked" / model / f"{scheme}.json"

    @property
    def report(self) -> Path:
        return self.root / "models" / "report"

    @property
    def metrics(self) -> Path:
        return self.report / "metrics.json"

    @property
    def work(self) -> Path:
        """Training in progress: outside DVC's outs, because DVC deletes those before a rerun."""
        return self.root / "work"
