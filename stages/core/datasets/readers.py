"""THE TABLE of data sources: what `prepare.source` may name, and how each is read."""

from collections.abc import Callable
from pathlib import Path

from stages.core.base.errors import ParamsError
from stages.core.datasets.coco import read_coco
from stages.core.datasets.samples import Source
from stages.core.datasets.synthetic import read_synthetic
from stages.core.datasets.voc import read_voc
from stages.core.datasets.workers import Workers
from stages.core.params.steps import PrepareParams

Reader = Callable[[PrepareParams, Path, Path, Workers], Source]
"""(parameters, folder that `prepare.path` names, empty folder for files of its own, workers) to a source."""


def _synthetic(params: PrepareParams, folder: Path, scratch: Path, workers: Workers) -> Source:
    scenes = params.synthetic
    return read_synthetic(
        scratch,
        workers,
        num_images={"train": scenes.num_train, "val": scenes.num_val, "test": scenes.num_test},
        size=scenes.size,
        max_objects=scenes.max_objects,
        seed=params.seed,
    )


def _coco(params: PrepareParams, folder: Path, scratch: Path, workers: Workers) -> Source:
    return read_coco(folder, annotations=params.annotations, images=params.images)


def _voc(params: PrepareParams, folder: Path, scratch: Path, workers: Workers) -> Source:
    if params.annotations is not None:
        raise ParamsError("prepare.annotations: only for source coco; VOC has one XML per image")
    return read_voc(folder, images=params.images)


READERS: dict[str, Reader] = {"synthetic": _synthetic, "coco": _coco, "voc": _voc}
