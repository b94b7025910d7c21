"""The records that the stages wrote, gathered into the rows of the results table."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from stages.core.base.errors import MissingResultError
from stages.core.base.jsonfile import read_json
from stages.core.base.layout import PROOF_FILE, RESULT_FILE, Layout
from stages.core.gating.gate import judge_rows
from stages.core.params.steps import GateParams
from stages.core.results.benchmark import Benchmark
from stages.core.results.conversion import Conversion, Proof
from stages.core.results.status import Status
from stages.core.results.table import Metrics, Row, Verdict
from stages.core.results.training import TrainResult
from stages.core.results.validation import ApIntervals, AveragePrecision, Interval, Parity, Validation

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Everything written about one model in one scheme.

    Attributes:
      proof: None where the conversion made no file.
      folder: Where the model file, its interface and its proof are.
    """

    conversion: Conversion
    proof: Proof | None
    validation: Validation
    benchmark: Benchmark
    folder: Path

    @property
    def model(self) -> str:
        return self.conversion.model

    @property
    def scheme(self) -> str:
        return self.conversion.scheme

    @property
    def name(self) -> str:
        return f"{self.model}/{self.scheme}"


def read_cells(layout: Layout, models: Sequence[str], schemes: Sequence[str]) -> tuple[Cell, ...]:
    """One cell per model and scheme, models first.

    Raises:
      MissingResultError: if a record is missing; the message names the stage to run.
      ArtifactError: if a record is damaged.
    """
    return tuple(read_cell(layout, model, scheme) for model in models for scheme in schemes)


def read_cell(layout: Layout, model: str, scheme: str) -> Cell:
    """The records of one model in one scheme."""
    folder = layout.converted(model, scheme)
    cell = f"--model {model} --scheme {scheme}"
    conversion = read_record(Conversion, folder / RESULT_FILE, f"stages.convert {cell}")
    has_proof = conversion.status is Status.OK or (folder / PROOF_FILE).exists()
    return Cell(
        conversion=conversion,
        proof=read_record(Proof, folder / PROOF_FILE, f"stages.convert {cell}") if has_proof else None,
        validation=read_record(Validation, layout.validated(model, scheme), f"stages.validate {cell}"),
        benchmark=read_record(Benchmark, layout.benchmarked(model, scheme), f"stages.benchmark {cell}"),
        folder=folder,
    )


def read_training(layout: Layout, model: str, variant: str = "trained") -> TrainResult:
    """What training one model gave."""
    return read_record(TrainResult, layout.variant(model, variant) / RESULT_FILE, f"stages.train --model {model}")


def read_record(kind: type[T], path: Path, command: str) -> T:
    """`read_json`, with the command that writes a missing record in the message."""
    try:
        return read_json(kind, path)
    except MissingResultError:
        raise MissingResultError(f"{path}: no such file; run `dvc repro` or `python -m {command}` first") from None


def cells_to_metrics(
    cells: Iterable[Cell], gate: GateParams, trainings: Mapping[str, TrainResult] | None = None
) -> Metrics:
    """The results table, judged by the bounds of params.yaml.

    Args:
      trainings: By model; without them nothing is said of what export cost.
    """
    cells = tuple(cells)
    rows = [add_trained(cell_to_row(cell), cell, (trainings or {}).get(cell.model)) for cell in cells]
    protocols = [cell.validation.protocol for cell in cells if cell.validation.protocol]
    splits = Counter((protocol.split, protocol.split_images) for protocol in protocols)
    split, num_images = splits.most_common(1)[0][0] if splits else ("unknown", None)
    return Metrics(split=split, num_images=num_images, rows=judge_rows(rows, gate))


def cell_to_row(cell: Cell) -> Row:
    """One line of the results table, not judged yet.

    Numbers measured on another file than the converted one are left out, and the row fails with the two hashes.
    """
    conversion, validation, benchmark = cell.conversion, cell.validation, cell.benchmark
    status, reason = cell_status(cell)
    own = conversion.sha256 is not None
    judged = is_of_converted(cell)
    timed = own and benchmark.artifact_sha256 == conversion.sha256
    accuracy = validation.accuracy if judged else None
    reference = validation.reference if judged else None
    latency = benchmark.latency if timed else None
    box_class = worst_class(reference.box, accuracy.box) if accuracy and reference else (None, None)
    mask_class = worst_class(reference.mask, accuracy.mask) if accuracy and reference else (None, None)
    intervals: dict[str, Any] = {
        **row_intervals("box", validation.box_intervals if judged else None, box_class[1]),
        **row_intervals("mask", validation.mask_intervals if judged else None, mask_class[1]),
    }
    row = Row(
        model=cell.model,
        scheme=cell.scheme,
        backend=conversion.backend,
        source=conversion.source,
        status=status,
        reason=reason,
        artifact=conversion.artifact,
        sha256=conversion.sha256,
        size_bytes=conversion.size_bytes,
        gzip_bytes=benchmark.gzip_bytes if timed else None,
        box_ap=accuracy.box.ap if accuracy else None,
        mask_ap=accuracy.mask.ap if accuracy and accuracy.mask else None,
        box_ap_float=reference.box.ap if reference else None,
        mask_ap_float=reference.mask.ap if reference and reference.mask else None,
        box_ap_drop=validation.box_ap_drop if judged else None,
        mask_ap_drop=validation.mask_ap_drop if judged else None,
        box_class_ap_drop=box_class[0],
        box_worst_class=box_class[1],
        mask_class_ap_drop=mask_class[0],
        mask_worst_class=mask_class[1],
        agreement_f1=validation.agreement.f1 if judged and validation.agreement else None,
        num_images=validation.protocol.num_images if judged and validation.protocol else None,
        latency_p50_ms=latency.p50_ms if latency else None,
        latency_p90_ms=latency.p90_ms if latency else None,
        peak_rss_bytes=benchmark.peak_rss_bytes if timed else None,
        verdict=Verdict.FAIL,
        verdict_reasons=("no verdict yet",),
    )
    return replace(row, **intervals)


def add_trained(row: Row, cell: Cell, training: TrainResult | None) -> Row:
    """The row with what `train` measured of the same weights, where that was on the same images."""
    protocol = cell.validation.protocol
    if training is None or protocol is None or protocol.split != "val" or protocol.subset:
        return row
    box, mask = (training.validation.get(name) for name in ("box_ap", "mask_ap"))
    return replace(
        row,
        box_ap_trained=box,
        mask_ap_trained=mask,
        box_trained_drop=None if box is None or row.box_ap is None else box - row.box_ap,
        mask_trained_drop=None if mask is None or row.mask_ap is None else mask - row.mask_ap,
    )


def row_intervals(kind: str, found: ApIntervals | None, worst: str | None) -> dict[str, Interval | None]:
    """The intervals of one kind (box, mask) by the fields of `Row`; `worst` is the class that lost most."""
    return {
        f"{kind}_ap_interval": found.ap if found else None,
        f"{kind}_ap_drop_interval": found.ap_drop if found else None,
        f"{kind}_class_ap_drop_interval": found.class_ap_drop.get(worst) if found and worst is not None else None,
    }


def is_of_converted(cell: Cell) -> bool:
    """Whether the accuracy was measured on the file that was converted last."""
    sha256 = cell.conversion.sha256
    return sha256 is not None and cell.validation.artifact_sha256 == sha256


def cell_status(cell: Cell) -> tuple[Status, str]:
    """How the cell ended: the first record that is not ok, by stage, then whether all speak of the same file."""
    conversion = cell.conversion
    measured = (("validate", cell.validation), ("benchmark", cell.benchmark))
    if conversion.status is not Status.OK:
        return conversion.status, conversion.reason
    for stage, record in measured:
        if record.status is not Status.OK:
            return record.status, f"{stage}: {record.reason}"
    foreign = [
        f"{stage}'s numbers belong to another file (sha256 {_short(record.artifact_sha256)}, "
        f"converted {_short(conversion.sha256)}); run `{stage}` again"
        for stage, record in measured
        if conversion.sha256 is None or record.artifact_sha256 != conversion.sha256
    ]
    return (Status.FAILED, "; ".join(foreign)) if foreign else (Status.OK, "")


def class_drop(reference: AveragePrecision, got: AveragePrecision, name: str) -> float | None:
    """Points of AP that one class lost; None where one side has no AP of it."""
    before, after = reference.per_class.get(name), got.per_class.get(name)
    return None if before is None or after is None else before - after


def worst_class(reference: AveragePrecision | None, got: AveragePrecision | None) -> tuple[float | None, str | None]:
    """The largest drop among the classes, in points, and whose it is; the first one of equals."""
    if reference is None or got is None:
        return None, None
    drops = {name: class_drop(reference, got, name) for name in reference.per_class}
    known = {name: drop for name, drop in drops.items() if drop is not None}
    worst = max(known, key=known.__getitem__, default=None)
    return (None, None) if worst is None else (known[worst], worst)


def read_metrics(layout: Layout) -> Metrics:
    """`models/report/metrics.json`."""
    return read_record(Metrics, layout.metrics, "stages.report")


def check_complete(metrics: Metrics, models: Sequence[str], schemes: Sequence[str]) -> None:
    """Checks that every model and scheme of params.yaml has its row.

    Raises:
      MissingResultError: naming the first that has none.
    """
    present = {(row.model, row.scheme) for row in metrics.rows}
    absent = [f"{model}/{scheme}" for model in models for scheme in schemes if (model, scheme) not in present]
    if absent:
        raise MissingResultError(
            f"metrics.json: no row for {absent[0]} ({len(absent)} of params.yaml's rows are missing); "
            "run `dvc repro` or `python -m stages.report` first"
        )


def worst_parity(cell: Cell) -> Parity | None:
    """The raw output that is furthest from the float model's; None where none was compared."""
    return min(cell.validation.parity, key=_closeness, default=None)


def _closeness(parity: Parity) -> tuple[bool, bool, float]:
    """Sorts what is not finite first, then by SQNR, and what is identical last."""
    sqnr_db = -math.inf if parity.sqnr_db is None else parity.sqnr_db
    return parity.max_abs is not None, parity.max_abs == 0, sqnr_db


def _short(sha256: str | None) -> str:
    return sha256[:12] if sha256 else "none"
