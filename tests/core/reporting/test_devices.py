"""Device files in the report: a column each, and stale ones by name."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from stages import report
from stages.core.base.errors import ArtifactError
from stages.core.base.jsonfile import read_json, write_json
from stages.core.base.layout import Layout
from stages.core.reporting.collect import read_metrics
from stages.core.reporting.devices import read_devices
from stages.core.reporting.tables import print_table
from stages.core.results.conversion import Conversion
from stages.core.results.device import DeviceCost, DeviceFile
from stages.core.results.status import Status
from tests.builders import write_project

MODEL = "retinanet_mobiledet_edgetpu"


def cost(layout: Layout, scheme: str = "int8", **changes: object) -> DeviceCost:
    """What a phone measured of the converted file."""
    conversion = read_json(Conversion, layout.converted(MODEL, scheme) / "result.json")
    base = DeviceCost(
        model=MODEL,
        scheme=scheme,
        artifact_sha256=conversion.sha256 or "",
        status=Status.OK,
        latency_mean_ms=21.6,
        latency_p50_ms=21.4,
        num_threads=4,
        timed_on="random values",
        tool="benchmark_model",
        runtime="LiteRT",
        delegate="XNNPACK",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def phone(*costs: DeviceCost) -> DeviceFile:
    return DeviceFile(device="Phone", cpu="A chip", costs=costs)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return write_project(tmp_path, (MODEL,), ("float32", "int8"), params={"report": {"num_pictures": 0}})


def test_a_column_for_each_device(layout: Layout) -> None:
    older = cost(layout, "float32", num_threads=1, latency_p50_ms=None, latency_mean_ms=70.25)
    write_json(phone(cost(layout), older), layout.devices / "phone.json")
    board = replace(
        phone(cost(layout, latency_p50_ms=33.0)), device="Board <1>", cpu="Cortex", system="Linux 6 aarch64"
    )
    write_json(board, layout.devices / "board.json")
    (layout.devices / "README.md").write_text("no device")

    assert report.main(["--root", str(layout.root)]) == 0

    metrics = read_metrics(layout)
    assert [column.label for column in metrics.devices] == [
        "Board <1>, 4 threads",
        "Phone, 4 threads",
        "Phone, 1 threads",
    ]
    rows = {row.scheme: row.devices for row in metrics.rows}
    assert rows["int8"]["Phone, 4 threads"] == {"latency_p50_ms": 21.4, "latency_mean_ms": 21.6}
    assert rows["float32"] == {"Phone, 1 threads": {"latency_mean_ms": 70.25}}
    text = (layout.report / "report.md").read_text()
    assert "| Phone, 4 threads: p50 ms | Phone, 1 threads: mean ms |" in text
    assert "| Board <1>, 4 threads | Cortex, Linux 6 aarch64 | LiteRT (XNNPACK) | 4 | benchmark_model on random" in text
    page = (layout.report / "index.html").read_text()
    assert "Board &lt;1&gt;, 4 threads: p50 ms" in page
    assert "A chip; LiteRT (XNNPACK); 1 threads; benchmark_model on random values" in page
    console = Console(file=StringIO(), width=400)
    print_table(metrics, (), console)
    assert "Phone, 4 threads: p50 ms" in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_is_not_of_these_files_is_named_and_not_shown(layout: Layout) -> None:
    costs = (
        cost(layout, artifact_sha256="cd" * 32),
        cost(layout, "float32", status=Status.FAILED, reason="out of memory", latency_mean_ms=None),
        cost(layout, model="retinanet_mobiledet_dsp"),
    )
    write_json(phone(*costs), layout.devices / "phone.json")

    assert report.main(["--root", str(layout.root)]) == 0

    metrics = read_metrics(layout)
    assert not any(row.devices for row in metrics.rows)
    stale, failed, unknown = metrics.devices[0].remarks
    assert stale.startswith(
        f"{MODEL}/int8 is stale: measured on another version of the file (sha256 cdcdcdcdcdcd, conv"
    )
    assert failed == f"{MODEL}/float32: failed: out of memory"
    assert unknown == "retinanet_mobiledet_dsp/int8 is no row of this table"
    for name in ("report.md", "index.html"):
        assert "is stale: measured on another version" in (layout.report / name).read_text()


def test_files_that_contradict_each_other_or_are_none(layout: Layout) -> None:
    write_json(phone(cost(layout)), layout.devices / "a.json")
    write_json(replace(phone(cost(layout)), device="phone"), layout.devices / "b.json")
    with pytest.raises(ArtifactError, match=r"b\.json: 'phone', 4 threads, .*/int8 is in a\.json too"):
        read_devices(layout.devices)
    (layout.devices / "b.json").write_text('{"device": 1}')
    with pytest.raises(ArtifactError, match=r"b\.json: "):
        read_devices(layout.devices)
