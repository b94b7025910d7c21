"""All files of `models/report`."""

import shutil
from pathlib import Path

from stages.core.base.jsonfile import write_json
from stages.core.base.layout import MARKDOWN_FILE, METRICS_FILE, PAGE_FILE, Layout
from stages.core.datasets.prepared import read_split
from stages.core.gating.gate import bounds_of
from stages.core.params.steps import GateParams
from stages.core.reporting.classes import class_tables, classes_to_markdown
from stages.core.reporting.collect import cells_to_metrics, read_cells
from stages.core.reporting.confusion import write_confusions
from stages.core.reporting.content import Content, subset_notes, warning_notes
from stages.core.reporting.devices import add_devices, devices_to_markdown, read_devices
from stages.core.reporting.page import render_page
from stages.core.reporting.pictures import MovedCard, Picture, read_moved, read_pictures
from stages.core.reporting.plots import write_metric_files, write_plots
from stages.core.reporting.recommendations import recommend, recommendations_to_markdown
from stages.core.reporting.refinements import later_notes
from stages.core.reporting.sheets import write_sheets
from stages.core.reporting.tables import metrics_to_markdown
from stages.core.reporting.trainings import read_training_curves, read_trainings


def read_content(
    layout: Layout,
    models: tuple[str, ...],
    schemes: tuple[str, ...],
    *,
    gate: GateParams,
    split: str,
    num_pictures: int,
    score_threshold: float,
    num_moved: int = 0,
) -> Content:
    """Everything that the report says, from the records of the other stages.

    Args:
      split: The evaluation split, for the pictures.
      num_pictures, score_threshold: How many pictures per model, and which detections are drawn on them.
      num_moved: How many of the images that moved most per file.

    Raises:
      MissingResultError: if a record is missing; the message names the stage to run.
    """
    cells, trainings = read_cells(layout, models, schemes), read_trainings(layout, models)
    metrics = add_devices(cells_to_metrics(cells, gate, trainings), read_devices(layout.devices))
    pictures: tuple[Picture, ...] = ()
    moved: tuple[MovedCard, ...] = ()
    if num_pictures:
        prepared = read_split(layout.split(split))
        pictures = read_pictures(layout, cells, prepared, num_pictures=num_pictures, score_threshold=score_threshold)
    if num_moved:
        prepared = read_split(layout.split(split))
        moved = read_moved(layout, cells, prepared, num_pictures=num_moved)
    return Content(
        metrics=metrics,
        bounds=tuple(
            bounds_of(row.model, row.scheme, gate, float_masks=row.mask_ap_float is not None) for row in metrics.rows
        ),
        cells=cells,
        trainings=trainings,
        curves=read_training_curves(layout, trainings),
        pictures=pictures,
        moved=moved,
    )


def write_report(content: Content, folder: Path) -> None:
    """metrics.json, report.md, index.html, metrics/, plots/ and pictures/; what was there before goes away."""
    for stale in ("metrics", "plots", "pictures"):
        shutil.rmtree(folder / stale, ignore_errors=True)
    write_json(content.metrics, folder / METRICS_FILE)
    write_metric_files(content.metrics, folder / "metrics")
    write_plots(content.metrics, content.curves, folder / "plots")
    write_confusions(content.cells, folder / "plots" / "confusion")
    write_sheets(content.pictures, folder / "pictures")
    cells = content.cells
    (folder / MARKDOWN_FILE).write_text(
        metrics_to_markdown(content.metrics, (*warning_notes(cells), *subset_notes(cells), *later_notes(cells)))
        + recommendations_to_markdown(recommend(content.metrics))
        + devices_to_markdown(content.metrics)
        + classes_to_markdown(class_tables(content.cells))
    )
    (folder / PAGE_FILE).write_text(render_page(content))
