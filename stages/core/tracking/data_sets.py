"""Data sets as MLflow lists them beside the runs: one for each split, known by the split's hash."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.core.params.steps import PrepareParams
from stages.core.results.preparation import PrepareReport

DIGEST_LENGTH = 32
"""MLflow takes 36 characters."""
CONTEXTS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One split, for MLflow's column *Dataset* and its filters.

    Attributes:
      name: `<data>/<split>`, e.g. `bccd/val`.
      digest: Beginning of the split's sha256.
      context: What the run used it for.
      source: Where the data came from, as JSON: `prepare.source` and `prepare.path`.
      profile: Sizes, as JSON: images, objects, objects by class.
    """

    name: str
    digest: str
    context: str
    source: str
    profile: str


def plan_data_sets(
    report: PrepareReport, params: PrepareParams, splits: Sequence[str], contexts: Mapping[str, str] = CONTEXTS
) -> tuple[DataSet, ...]:
    """The splits that have images.

    Args:
      contexts: Split to what it is used for.
    """
    source = json.dumps({"source": params.source, "path": params.path})
    found = ((split, report.splits[split]) for split in splits if split in report.splits)
    return tuple(
        DataSet(
            name=f"{name_data(params)}/{split}",
            digest=summary.sha256[:DIGEST_LENGTH],
            context=contexts[split],
            source=source,
            profile=json.dumps(
                {
                    "num_images": summary.num_images,
                    "num_objects": summary.num_objects,
                    "objects_per_class": summary.objects_per_class,
                }
            ),
        )
        for split, summary in found
        if summary.num_images
    )


def name_data(params: PrepareParams) -> str:
    """`synthetic`, or the name of the folder of images."""
    return "synthetic" if params.source == "synthetic" else Path(params.path).resolve().name or params.source
