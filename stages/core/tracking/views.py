"""Views of an experiment in MLflow's UI: which runs, in which order, with which columns.

The UI opens with no number at all in its table. It keeps views that people share as tags of the experiment, and opens
them by an address with their key; these are such views.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from stages.core.tracking.address import FILES_VIEW, TRAININGS_VIEW, VIEW_TAG
from stages.core.tracking.run_plan import Publication
from stages.core.tracking.training_runs import ROLE

RUN_NAMES = ("attributes.`Run Name`", "tags.`mlflow.runName`")
"""The column of names; which of the two it is depends on MLflow's version."""
WIDTHS = {**dict.fromkeys(RUN_NAMES, 310), "attributes.`Dataset`": 170}
"""Pixels. The UI's own are too narrow for `<model>/<scheme>`: all rows of a model would look alike."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One view.

    Attributes:
      role: Which runs: the value of their tag `role`.
      order_by: Column to sort by, descending.
      columns: In MLflow's spelling, those without a value left out.
    """

    role: str
    order_by: str
    columns: Sequence[str]

    @property
    def state(self) -> str:
        """What the UI reads."""
        tree = {
            "searchFilter": f"tags.role = '{self.role}'",
            "orderByKey": self.order_by,
            "orderByAsc": False,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "modelVersionFilter": "All Runs",
            "datasetsFilter": [],
            "selectedColumns": list(self.columns),
            "columnOrder": [*RUN_NAMES, *self.columns],
            "columnWidths": WIDTHS,
        }
        return json.dumps(tree)


def plan_views(publication: Publication) -> dict[str, View]:
    """The two views, by name."""
    shown = [column("attributes", "Dataset")]
    files = {name for run in publication.children for name in run.metrics}
    curves = {curve.name for run in publication.trainings for curve in run.curves}
    of_files = ("box_ap", "box_ap_drop", "mask_ap", "mask_ap_drop", "latency_p50_ms", "size_mb", "peak_rss_mb")
    of_trainings = ("validation/box_ap", "validation/mask_ap", "train/total_loss", "train/images_per_second")
    return {
        FILES_VIEW: View(
            role="child",
            order_by=column("metrics", "box_ap"),
            columns=[*(column("tags", "verdict"),), *_columns("metrics", of_files, files), *shown],
        ),
        TRAININGS_VIEW: View(
            role=ROLE,
            order_by=column("metrics", "validation/box_ap"),
            columns=[
                *_columns("metrics", of_trainings, curves),
                *(column("params", f"train.{name}") for name in ("steps", "batch_size", "learning_rate")),
                *shown,
            ],
        ),
    }


def column(kind: str, name: str) -> str:
    """A column's name as the UI writes it."""
    return f"{kind}.`{name}`"


def _columns(kind: str, names: Sequence[str], known: Collection[str]) -> list[str]:
    return [column(kind, name) for name in names if name in known]


def views_to_tags(views: Mapping[str, View]) -> dict[str, str]:
    """Tags of the experiment."""
    return {f"{VIEW_TAG}{name}": view.state for name, view in views.items()}
