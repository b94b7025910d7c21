"""The results table: its columns once, and the table as Markdown and for the terminal."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stages.core.base.layout import PAGE_FILE, show_path
from stages.core.gating.gate import BYTES_PER_MB, failures
from stages.core.results.status import Status
from stages.core.results.table import Metrics, Row, Verdict
from stages.core.results.validation import Interval

ABSENT = "–"
MARKS = {Verdict.PASS: "pass", Verdict.FAIL: "FAIL", Verdict.UNSURE: "unsure", Verdict.NOT_APPLICABLE: "n/a"}

STYLES = {Verdict.PASS: "green", Verdict.UNSURE: "yellow", Verdict.FAIL: "red", Verdict.NOT_APPLICABLE: "dim"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of numbers.

    Attributes:
      key: Field of `Row` it shows.
      title: Head of the column, with its unit.
      digits: Decimals shown.
      scale: What a value is divided by.
      is_drop: Whether it is a fall against the float model, which has a bound.
      masks: Whether only models with masks have it.
      is_interval: Whether it is the 95 % interval of a number instead of a number.
      device: Label of the device whose numbers it shows, `key` being one of them.
      rank: In a narrow terminal the columns of the highest rank are left out first.
    """

    key: str
    title: str
    digits: int = 1
    scale: float = 1.0
    is_drop: bool = False
    masks: bool = False
    rank: int = 0
    is_interval: bool = False
    device: str = ""

    def value(self, row: Row) -> float | None:
        """The number in the column's unit, None where it is missing."""
        number = row.devices.get(self.device, {}).get(self.key) if self.device else getattr(row, self.key)
        return None if number is None else number / self.scale

    def text(self, row: Row) -> str:
        if self.is_interval:
            return format_interval(getattr(row, self.key), self.digits)
        return format_number(self.value(row), self.digits)


COLUMNS = (
    Column(key="box_ap", title="box AP"),
    Column(key="box_ap_interval", title="box AP 95 %", rank=5, is_interval=True),
    Column(key="box_ap_drop", title="box drop", digits=2, is_drop=True),
    Column(key="box_ap_drop_interval", title="box drop 95 %", digits=2, rank=2, is_interval=True),
    Column(key="mask_ap", title="mask AP", masks=True),
    Column(key="mask_ap_interval", title="mask AP 95 %", masks=True, rank=5, is_interval=True),
    Column(key="mask_ap_drop", title="mask drop", digits=2, is_drop=True, masks=True),
    Column(key="mask_ap_drop_interval", title="mask drop 95 %", digits=2, masks=True, rank=2, is_interval=True),
    Column(key="agreement_f1", title="agree F1", digits=3, rank=2),
    Column(key="latency_p50_ms", title="p50 ms"),
    Column(key="latency_p90_ms", title="p90 ms", rank=3),
    Column(key="size_bytes", title="size MB", digits=2, scale=BYTES_PER_MB),
    Column(key="gzip_bytes", title="gzip MB", digits=2, scale=BYTES_PER_MB, rank=4),
    Column(key="peak_rss_bytes", title="peak MB", digits=0, scale=BYTES_PER_MB, rank=1),
    Column(key="box_ap_trained", title="box trained", rank=5),
    Column(key="box_trained_drop", title="box drop trained", digits=2, rank=3),
    Column(key="mask_ap_trained", title="mask trained", masks=True, rank=5),
    Column(key="mask_trained_drop", title="mask drop trained", digits=2, masks=True, rank=3),
)


def format_number(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """A number for people; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return ABSENT
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def format_interval(interval: Interval | None, digits: int) -> str:
    """Both ends of an interval for people; a dash where there is none."""
    if interval is None:
        return ABSENT
    return f"{format_number(interval.low, digits)} to {format_number(interval.high, digits)}"


def columns_of(metrics: Metrics) -> tuple[Column, ...]:
    """The columns that say something: those in which some row has a value; and one for each device."""
    known = tuple(column for column in COLUMNS if any(getattr(row, column.key) is not None for row in metrics.rows))
    return known + tuple(
        Column(
            key=f"latency_{device.statistic}_ms",
            title=f"{device.label}: {device.statistic} ms",
            device=device.label,
            rank=1,
        )
        for device in metrics.devices
    )


def headline(metrics: Metrics) -> str:
    """What the gate says, in one line."""
    total, red = len(metrics.rows), len(failures(metrics))
    rows = f"{total} row{'s' if total != 1 else ''}"
    unsure = sum(row.verdict is Verdict.UNSURE for row in metrics.rows)
    doubt = f" {unsure} within noise of a bound." if unsure else ""
    return (f"The gate is red: {red} of {rows} fail." if red else f"The gate is green: {rows}, none fails.") + doubt


def row_remark(row: Row) -> str:
    """Why a row fails, or why it has no numbers."""
    return "; ".join(row.verdict_reasons)


def best_rows(metrics: Metrics) -> tuple[tuple[str, Row], ...]:
    """The row to look at first in each respect, among those that pass: most accurate, fastest, smallest.

    The AP of a row that was evaluated on fewer images than others does not compare with theirs.
    """
    shippable = [row for row in metrics.rows if not row.fails and row.status is Status.OK]
    most = max((row.num_images or 0 for row in shippable), default=0)
    wanted: tuple[tuple[str, Callable[[Row], float | None]], ...] = (
        ("most accurate", lambda row: None if row.box_ap is None or row.num_images != most else -row.box_ap),
        ("fastest", lambda row: row.latency_p50_ms),
        ("smallest", lambda row: row.size_bytes),
    )
    found = []
    for title, rank in wanted:
        ranked = [(value, index) for index, row in enumerate(shippable) if (value := rank(row)) is not None]
        if ranked:
            found.append((title, shippable[min(ranked)[1]]))
    return tuple(found)


def join_titles(best: Sequence[tuple[str, Row]]) -> tuple[tuple[str, Row], ...]:
    """Each row once, with all respects in which it is the best."""
    names = {(row.model, row.scheme): row for _, row in best}
    return tuple(
        (", ".join(title for title, other in best if (other.model, other.scheme) == name), row)
        for name, row in names.items()
    )


def highest_ap(metrics: Metrics) -> tuple[tuple[str, Row, float], ...]:
    """Box AP and mask AP: title, the row that has the highest, whether it passes or not, and the number."""
    found = []
    for title, key in (("box AP", "box_ap"), ("mask AP", "mask_ap")):
        known = [(getattr(row, key), row) for row in metrics.rows if getattr(row, key) is not None]
        if known:
            number, row = max(known, key=lambda entry: entry[0])
            found.append((title, row, number))
    return tuple(found)


def metrics_to_markdown(metrics: Metrics, notes: Sequence[str] = ()) -> str:
    """The whole of report.md.

    Args:
      notes: Footnotes, one line each.
    """
    columns = columns_of(metrics)
    split = f"Split `{metrics.split}`, {metrics.num_images if metrics.num_images is not None else 'unknown'} images."
    lines = ["# Detectors", "", f"**{headline(metrics)}** {split}", ""]
    lines.append("| model | scheme | gate | " + " | ".join(column.title for column in columns) + " |")
    lines.append("|---|---|---|" + "---:|" * len(columns))
    for row in metrics.rows:
        verdict = f"**{MARKS[row.verdict]}**" if row.fails else MARKS[row.verdict]
        lines.append(f"| {row.model} | {row.scheme} | {verdict} | " + " | ".join(c.text(row) for c in columns) + " |")
    remarks = [f"- `{row.model}/{row.scheme}`: {_one_line(row_remark(row))}" for row in metrics.rows if row_remark(row)]
    if remarks:
        lines += ["", "## What the gate says", "", *remarks]
    lines += ["", "AP in points (0..100); a drop is float model minus file under the same post-processing.", ""]
    lines += ["Trained: the same weights as `train` measured them, with Model Garden's own post-processing.", ""]
    lines += [
        "95 %: interval of the number over other images of this kind, by bootstrap; drops with both drawn alike.",
        "",
    ]
    return "\n".join([*lines, *(f"{_one_line(note)}\n" for note in notes)])


def print_table(metrics: Metrics, outputs: Sequence[tuple[str, str]], console: Console | None = None) -> None:
    """The results table for the terminal, the failures, and where to look on.

    Args:
      outputs: What and where, e.g. ("report", "models/report/index.html").
      console: Where to print; the terminal. Output that is no terminal is 120 columns wide.
    """
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 120)
    names = max(len(name) + 2 for row in metrics.rows for name in (row.model, row.scheme))
    columns = fit_columns(columns_of(metrics), console.width - names - len("gate") - 4)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("model, scheme", overflow="fold")
    table.add_column("gate")
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for index, row in enumerate(metrics.rows):
        if index == 0 or metrics.rows[index - 1].model != row.model:
            table.add_section()
            table.add_row(f"[bold]{row.model}[/]")
        style = "red" if row.fails else STYLES[row.verdict]
        table.add_row(f" {row.scheme}", f"[{style}]{MARKS[row.verdict]}[/]", *(column.text(row) for column in columns))
    console.print(table)
    red = failures(metrics)
    console.print(f"[bold {'red' if red else 'green'}]{headline(metrics)}[/]")
    for line in red:
        console.print(f"  [red]✗[/] {escape(line)}", soft_wrap=True)
    width = max((len(what) for what, _ in outputs), default=0)
    for what, where in outputs:
        console.print(f"{what:<{width}}  {escape(where)}", soft_wrap=True)


def artifact_paths(report: Path) -> tuple[tuple[str, str], ...]:
    """Where the report page and the tracking UI are, for the end of a run; paths as seen from the current folder."""
    return (("report", show_path(report / PAGE_FILE)), ("runs", "make ui  (MLflow on http://127.0.0.1:5000)"))


def fit_columns(columns: Sequence[Column], width: int) -> tuple[Column, ...]:
    """The columns that fit into `width` characters: whole ranks are left out, the highest first, rank 0 never."""
    kept = tuple(columns)
    while sum(len(column.title) + 2 for column in kept) > width and any(column.rank for column in kept):
        highest = max(column.rank for column in kept)
        kept = tuple(column for column in kept if column.rank < highest)
    return kept


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
