"""The parts of the report page as plain values: what is said where, before any HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.core.gating.gate import BYTES_PER_MB, Bounds
from stages.core.reporting.charts import Chart, Mark, line_chart, scatter_chart
from stages.core.reporting.collect import Cell
from stages.core.reporting.curves import Curve
from stages.core.reporting.pictures import MovedCard, Picture
from stages.core.reporting.plots import find_dominated
from stages.core.reporting.tables import format_number
from stages.core.results.status import Status
from stages.core.results.table import Metrics, Row
from stages.core.results.training import TrainResult
from stages.core.results.validation import AveragePrecision

COST_AXES = (
    ("latency", "latency_p50_ms", "latency p50, ms", 1.0),
    ("size", "size_bytes", "file size, MB", float(BYTES_PER_MB)),
)
GAIN_AXES = (("box_ap", "box AP, points"), ("mask_ap", "mask AP, points"))
_SUMS = ("train/model_loss", "train/training_loss")
AP_FIELDS = (
    ("ap", "AP"),
    ("ap50", "AP50"),
    ("ap75", "AP75"),
    ("ap_small", "small"),
    ("ap_medium", "medium"),
    ("ap_large", "large"),
)


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything that the report says.

    Attributes:
      bounds: By row, in the order of `metrics.rows`.
      trainings, curves: By model, or model and variant.
    """

    metrics: Metrics
    bounds: tuple[Bounds, ...]
    cells: tuple[Cell, ...]
    trainings: Mapping[str, TrainResult]
    curves: Mapping[str, tuple[Curve, ...]]
    pictures: tuple[Picture, ...]
    moved: tuple[MovedCard, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.model for row in self.metrics.rows))


@dataclass(frozen=True, kw_only=True)
class ScatterCard:
    """One accuracy-cost chart with its caption."""

    title: str
    chart: Chart


@dataclass(frozen=True, kw_only=True)
class HeatTable:
    """AP in detail: one line per area or class, one column for the float model and each scheme."""

    model: str
    kind: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, tuple[float | None, ...]], ...]
    num_summary: int


@dataclass(frozen=True, kw_only=True)
class TrainingCard:
    """Curves of one model's training."""

    model: str
    result: TrainResult
    loss: Chart | None
    accuracy: Chart | None


def scatter_cards(content: Content) -> tuple[ScatterCard, ...]:
    """Accuracy against latency and size: boxes, and masks where some model has them."""
    cards = []
    for gain, gain_title in GAIN_AXES:
        for name, cost, cost_title, scale in COST_AXES:
            marks = _marks(content, cost, gain, scale)
            if chart := scatter_chart(marks, x_title=cost_title, y_title=gain_title):
                cards.append(ScatterCard(title=f"{gain_title.split(' AP')[0].title()} AP against {name}", chart=chart))
    return tuple(cards)


def heat_tables(content: Content) -> tuple[HeatTable, ...]:
    """AP by area and class, for boxes and masks of each model that was evaluated."""
    tables = []
    for model in content.models:
        judged = [cell for cell in content.cells if cell.model == model and cell.validation.accuracy]
        for kind in ("box", "mask"):
            columns = _heat_columns(judged, kind)
            if columns:
                tables.append(_heat_table(model, kind, columns))
    return tuple(tables)


def training_cards(content: Content) -> tuple[TrainingCard, ...]:
    """Loss and validation AP over steps, for each model."""
    return tuple(
        TrainingCard(
            model=model,
            result=result,
            loss=line_chart(_losses(content.curves.get(model, ())), y_title="training loss"),
            accuracy=line_chart([c for c in content.curves.get(model, ()) if c.is_ap], y_title="validation AP, points"),
        )
        for model, result in content.trainings.items()
    )


def subset_notes(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Rows that were evaluated on fewer images than the split has, and why."""
    return tuple(
        f"{cell.name} was evaluated on {protocol.num_images} of {protocol.split_images} images, float model included: "
        f"{protocol.subset}"
        for cell in cells
        if (protocol := cell.validation.protocol) and protocol.subset
    )


def warning_notes(cells: Sequence[Cell]) -> tuple[str, ...]:
    """What seems to be stated wrongly of a brought model, once where its rows say the same."""
    return tuple(dict.fromkeys(f"{cell.validation.model}: {note}" for cell in cells for note in cell.validation.notes))


def provenance(content: Content) -> tuple[tuple[str, str], ...]:
    """What the numbers were measured on and with."""
    facts: dict[str, dict[str, None]] = {}

    def add(name: str, value: str) -> None:
        if value:
            facts.setdefault(name, {})[value] = None

    for cell in content.cells:
        machine, protocol = cell.benchmark.machine, cell.validation.protocol
        add("machine", f"{machine.cpu}, {machine.num_cpus} CPUs, {machine.system}, Python {machine.python}")
        add("instruction sets", " ".join(machine.isa_flags))
        add("runtime", cell.benchmark.runtime)
        add("delegate", cell.benchmark.delegate)
        add("threads", str(cell.benchmark.num_threads))
        if latency := cell.benchmark.latency:
            pictures = f"on {cell.benchmark.num_images} images in turn"
            add("timing", f"{latency.runs} runs after {latency.warmup} of warm-up, {pictures}")
        if protocol:
            add("protocol", f"COCO AP, IoU {protocol.iou_range}, at most {protocol.max_detections} detections an image")
            add("data sha256", protocol.data_sha256)
        add("calibration list sha256", cell.conversion.calibration_sha256 or "")
        for record in (cell.conversion, cell.validation):
            for package, version in record.versions.items():
                add("versions", f"{package} {version}")
    for model, result in content.trainings.items():
        add("weights sha256", f"{model} {result.checkpoint_sha256}")
        for package, version in result.versions.items():
            add("versions", f"{package} {version}")
    return tuple((name, ", ".join(values)) for name, values in facts.items())


def _marks(content: Content, cost: str, gain: str, scale: float) -> list[Mark]:
    rows = content.metrics.rows
    dominated = find_dominated(rows, cost, gain)
    return [
        Mark(
            x=getattr(row, cost) / scale,
            y=getattr(row, gain),
            label=row.scheme,
            title=_mark_title(row, index in dominated),
            series=content.models.index(row.model),
            kind=_mark_kind(row, index in dominated),
        )
        for index, row in enumerate(rows)
        if row.status is Status.OK and getattr(row, cost) is not None and getattr(row, gain) is not None
    ]


def _mark_kind(row: Row, dominated: bool) -> str:
    if row.fails:
        return "red"
    return "dominated" if dominated else "best"


def _mark_title(row: Row, dominated: bool) -> str:
    lines = [f"{row.model} / {row.scheme}", f"box AP {format_number(row.box_ap)}"]
    if row.mask_ap is not None:
        lines[-1] += f", mask AP {format_number(row.mask_ap)}"
    size_mb = None if row.size_bytes is None else row.size_bytes / BYTES_PER_MB
    lines.append(f"{format_number(row.latency_p50_ms)} ms, {format_number(size_mb, 2)} MB")
    if row.fails:
        lines.append("fails the gate")
    elif dominated:
        lines.append("dominated: another file is at least as good in both")
    return "\n".join(lines)


def _heat_columns(judged: Sequence[Cell], kind: str) -> dict[str, AveragePrecision]:
    """The float model's AP on the most images, then each scheme's."""
    columns: dict[str, AveragePrecision] = {}
    widest = max(judged, key=lambda c: c.validation.protocol.num_images if c.validation.protocol else 0, default=None)
    if widest and widest.validation.reference and (found := getattr(widest.validation.reference, kind)):
        columns["float"] = found
    for cell in judged:
        if found := getattr(cell.validation.accuracy, kind):
            columns[cell.scheme] = found
    return columns


def _heat_table(model: str, kind: str, columns: Mapping[str, AveragePrecision]) -> HeatTable:
    classes = dict.fromkeys(name for column in columns.values() for name in column.per_class)
    summary = [(title, tuple(getattr(ap, field) for ap in columns.values())) for field, title in AP_FIELDS]
    per_class = [(name, tuple(ap.per_class.get(name) for ap in columns.values())) for name in classes]
    return HeatTable(
        model=model, kind=kind, columns=tuple(columns), lines=(*summary, *per_class), num_summary=len(summary)
    )


def _losses(curves: Sequence[Curve]) -> list[Curve]:
    """The total first, then its parts; what Model Garden calls by a second name, and the evaluation's, stay out."""
    losses = [curve for curve in curves if curve.is_loss and curve.name.startswith("train/")]
    losses = [curve for curve in losses if curve.name not in _SUMS]
    return sorted(losses, key=lambda curve: not curve.is_total_loss)
