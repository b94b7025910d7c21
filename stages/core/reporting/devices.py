"""Other machines' measurements beside the rows that they belong to."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stages.core.base.errors import ArtifactError
from stages.core.base.jsonfile import read_json
from stages.core.results.device import DeviceCost, DeviceFile
from stages.core.results.status import Status
from stages.core.results.table import DeviceColumn, Metrics, Row

NUMBERS = (
    "latency_p50_ms",
    "latency_mean_ms",
    "latency_p90_ms",
    "latency_p95_ms",
    "init_ms",
    "peak_rss_bytes",
    "memory_delta_bytes",
)
"""Fields of `DeviceCost` that go with a row."""

Measured = tuple[DeviceFile, DeviceCost]


def read_devices(folder: Path) -> tuple[DeviceFile, ...]:
    """Every device file of `models/devices`, by name of the file.

    Raises:
      ArtifactError: if one is damaged, or if two hold the same measurement.
    """
    files = {path: read_json(DeviceFile, path) for path in sorted(folder.glob("*.json"))}
    seen: dict[tuple[str, tuple[str, str, int]], Path] = {}
    for path, file in files.items():
        for cost in file.costs:
            first = seen.setdefault((_slug(file.device), cost.key), path)
            if first != path:
                raise ArtifactError(
                    f"{path}: {file.device!r}, {cost.num_threads} threads, {cost.model}/{cost.scheme} is in "
                    f"{first.name} too; keep one, or give one of the devices another name"
                )
    return tuple(files.values())


def add_devices(metrics: Metrics, files: Sequence[DeviceFile]) -> Metrics:
    """The results table with a column for every device and number of threads.

    A measurement belongs to a row if model, scheme and sha256 are the row's; what was measured on another version of
    the file, or did not run, is named in the column's remarks and has no number.
    """
    groups: dict[str, list[Measured]] = {}
    for file in files:
        for cost in file.costs:
            groups.setdefault(f"{file.device}, {cost.num_threads} threads", []).append((file, cost))
    rows = {(row.model, row.scheme): row for row in metrics.rows}
    numbers: dict[tuple[str, str], dict[str, dict[str, float]]] = {key: {} for key in rows}
    columns = []
    for label, measured in groups.items():
        remarks = []
        for _, cost in measured:
            if remark := _remark(cost, rows.get((cost.model, cost.scheme))):
                remarks.append(remark)
            else:
                numbers[cost.model, cost.scheme][label] = cost_to_numbers(cost)
        columns.append(_column(label, measured, tuple(remarks)))
    return replace(
        metrics,
        rows=tuple(replace(row, devices=numbers[row.model, row.scheme]) for row in metrics.rows),
        devices=tuple(columns),
    )


def cost_to_numbers(cost: DeviceCost) -> dict[str, float]:
    """What was measured, by name; what the tool did not say is left out."""
    values = {name: getattr(cost, name) for name in NUMBERS}
    return {name: float(value) for name, value in values.items() if value is not None}


def device_facts(columns: Iterable[DeviceColumn]) -> Mapping[str, str]:
    """Column to one line on what it was measured with."""
    return {
        column.label: "; ".join(
            part
            for part in (
                column.cpu,
                column.system,
                f"{column.runtime} ({column.delegate})",
                f"{column.num_threads} threads",
                f"{column.tool} on {column.timed_on}",
            )
            if part
        )
        for column in columns
    }


def devices_to_markdown(metrics: Metrics) -> str:
    """A table of the devices, and what is to be said of them; empty without any."""
    if not metrics.devices:
        return ""
    lines = ["", "## Devices", "", "| column | CPU | runtime | threads | measured with |", "|---|---|---|---:|---|"]
    for column in metrics.devices:
        cells = (
            column.label,
            ", ".join(part for part in (column.cpu, column.system) if part),
            f"{column.runtime} ({column.delegate})",
            str(column.num_threads),
            f"{column.tool} on {column.timed_on}",
        )
        lines.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    remarks = [f"- {column.label}: {remark}" for column in metrics.devices for remark in column.remarks]
    return "\n".join([*lines, *(["", *remarks] if remarks else []), ""])


def _column(label: str, measured: Sequence[Measured], remarks: tuple[str, ...]) -> DeviceColumn:
    file = measured[0][0]

    def joined(name: str) -> str:
        return ", ".join(dict.fromkeys(getattr(cost, name) for _, cost in measured if getattr(cost, name)))

    known = [cost for _, cost in measured if cost.latency_mean_ms is not None]
    return DeviceColumn(
        label=label,
        device=file.device,
        cpu=file.cpu,
        system=file.system,
        runtime=joined("runtime"),
        delegate=joined("delegate") or "none",
        num_threads=measured[0][1].num_threads,
        tool=joined("tool"),
        timed_on=joined("timed_on"),
        # One statistic for the whole column: a mean among medians would compare what does not compare.
        statistic="mean" if any(cost.latency_p50_ms is None for cost in known) else "p50",
        remarks=remarks,
    )


def _remark(cost: DeviceCost, row: Row | None) -> str:
    """Why a measurement is not shown as a row's; empty if it is."""
    name = f"{cost.model}/{cost.scheme}"
    if row is None:
        return f"{name} is no row of this table"
    if cost.status is not Status.OK:
        return f"{name}: {cost.status}: {cost.reason}"
    if row.sha256 != cost.artifact_sha256:
        converted = row.sha256[:12] if row.sha256 else "none"
        return (
            f"{name} is stale: measured on another version of the file (sha256 {cost.artifact_sha256[:12]}, converted "
            f"{converted}); copy the folder to the device and measure again"
        )
    return ""


def _slug(name: str) -> str:
    """A device's name as far as MLflow tells it from others."""
    return re.sub(r"\W+", "_", name).casefold()
