"""Which file for which target: of the files that pass the gate, the fastest that is as accurate as the best of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stages.core.gating.gate import BYTES_PER_MB
from stages.core.reporting.tables import format_interval, format_number
from stages.core.results.kinds import Backend, Form, Precision
from stages.core.results.status import Status
from stages.core.results.table import Metrics, Row
from stages.core.tables.schemes import SCHEMES, Scheme

AP_MARGIN = 1.0
"""Points: a file that loses so much more than the best of its target counts as equally accurate."""
TIME_MARGIN = 0.05
"""Share of the latency: files that lie closer are equally fast, and the smaller one is taken."""


@dataclass(frozen=True, kw_only=True)
class FileTarget:
    """What a file is for.

    Attributes:
      title: As people call it.
      about: What such a client takes.
      takes: Whether it takes files of a scheme.
      timed_here: Whether the latency measured here says something about it; else the least loss decides, then size.
    """

    title: str
    about: str
    takes: Callable[[Scheme], bool]
    timed_here: bool = True


def _is_tflite(scheme: Scheme) -> bool:
    return scheme.backend is Backend.TFLITE and scheme.form is Form.BUILTIN


TARGETS = (
    FileTarget(title="CPU, LiteRT", about="any TFLite file of builtin ops", takes=_is_tflite),
    FileTarget(
        title="mobile libraries",
        about="a post-processing op at the end, as MediaPipe and the Task Library expect it",
        takes=lambda scheme: scheme.form is Form.POSTPROCESS_OP,
    ),
    FileTarget(
        title="int8 accelerator",
        about="int8 or uint8 weights and activations, as an Edge TPU, DSP or NPU computes",
        takes=lambda scheme: (
            scheme.backend is Backend.TFLITE and scheme.activations in (Precision.INT8, Precision.UINT8)
        ),
        timed_here=False,
    ),
    FileTarget(
        title="GPU, float16",
        about="float16 weights, float activations",
        takes=lambda scheme: _is_tflite(scheme) and scheme.weights is Precision.FLOAT16,
        timed_here=False,
    ),
    FileTarget(title="OpenVINO", about="an IR", takes=lambda scheme: scheme.backend is Backend.OPENVINO),
)
"""A new target is a new row."""


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What to take of one model for one target; without a row, `reason` says why there is none."""

    model: str
    target: FileTarget
    row: Row | None
    reason: str


def recommend(metrics: Metrics) -> tuple[Recommendation, ...]:
    """One recommendation per model and target, models in the order of the table.

    Accuracy is compared by what files lose against the float model on the same images: two rows may have been evaluated
    on different ones. It is that of masks where a model has them. Targets that no row of the table is for are left out.
    """
    found = []
    for model in dict.fromkeys(row.model for row in metrics.rows):
        for target in TARGETS:
            if rows := [row for row in metrics.rows if row.model == model and target.takes(SCHEMES[row.scheme])]:
                found.append(_choose(model, target, rows))
    return tuple(found)


def recommendations_to_markdown(found: Sequence[Recommendation]) -> str:
    """A section of report.md; empty without recommendations."""
    if not found:
        return ""
    lines = ["", "## Which file for which target", "", "| model | target | file | why |", "|---|---|---|---|"]
    for item in found:
        name = f"`{item.row.scheme}`" if item.row else "none"
        lines.append(f"| {item.model} | {item.target.title} | {name} | {item.reason} |")
    return "\n".join([*lines, "", rule(), ""])


def unserved(metrics: Metrics) -> str:
    """Which targets have no recommendation because no row of the table is for them; empty where all have one."""
    schemes = {row.scheme for row in metrics.rows}
    missing = [target.title for target in TARGETS if not any(target.takes(SCHEMES[name]) for name in schemes)]
    return f"No file was asked for that is for: {'; '.join(missing)} (schemes in params.yaml)." if missing else ""


def rule() -> str:
    """How files are chosen, for people."""
    return (
        f"Of the files for a target that pass the gate and lose at most {AP_MARGIN:g} point of AP more than the best "
        f"of them, the one with the least latency here; within {TIME_MARGIN:.0%}, the smaller one. For accelerators "
        "and GPUs, whose latency was not measured here, the one that loses least, then the smaller one."
    )


def _choose(model: str, target: FileTarget, rows: Sequence[Row]) -> Recommendation:
    passing = [row for row in rows if row.status is Status.OK and not row.fails and _drop(row) is not None]
    if not passing:
        return Recommendation(model=model, target=target, row=None, reason=_why_none(rows))
    least = min(_loss(row) for row in passing)
    equal = [row for row in passing if _loss(row) <= least + AP_MARGIN]
    timed = [row for row in equal if row.latency_p50_ms is not None] if target.timed_here else []
    if timed:
        fastest = min(row.latency_p50_ms or 0.0 for row in timed)
        equal = [row for row in timed if (row.latency_p50_ms or 0.0) <= fastest * (1 + TIME_MARGIN)]
        chosen = min(equal, key=_size)
    else:
        chosen = min(equal, key=lambda row: (round(_loss(row), 1), _size(row)))
    return Recommendation(model=model, target=target, row=chosen, reason=_why(chosen, passing, timed=bool(timed)))


def _why(chosen: Row, passing: Sequence[Row], *, timed: bool) -> str:
    kind, ap = ("mask", chosen.mask_ap) if chosen.mask_ap is not None else ("box", chosen.box_ap)
    interval = chosen.mask_ap_drop_interval if kind == "mask" else chosen.box_ap_drop_interval
    within = f" (95 %: {format_interval(interval, 2)})" if interval else ""
    parts = [f"{kind} AP {format_number(ap)}, drop {format_number(_drop(chosen), 2)}{within}"]
    if timed:
        parts.append(f"{format_number(chosen.latency_p50_ms)} ms")
    if chosen.size_bytes is not None:
        parts.append(f"{format_number(chosen.size_bytes / BYTES_PER_MB, 2)} MB")
    others = "the only one that passes" if len(passing) == 1 else f"of {len(passing)} that pass"
    return f"{', '.join(parts)}; {others}"


def _why_none(rows: Sequence[Row]) -> str:
    failing = [row.scheme for row in rows if row.status is Status.OK and row.fails]
    if failing:
        return f"fails the gate: {', '.join(failing)}"
    return "no file: " + "; ".join(dict.fromkeys(row.reason or f"{row.scheme} was not evaluated" for row in rows))


def _drop(row: Row) -> float | None:
    return row.mask_ap_drop if row.mask_ap_drop is not None else row.box_ap_drop


def _loss(row: Row) -> float:
    """A file that is better than the float model by chance makes no other file worse."""
    return max(_drop(row) or 0.0, 0.0)


def _size(row: Row) -> int:
    return row.size_bytes or 0
