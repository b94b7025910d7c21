"""THE TABLE of data sources: what `prepare.source` may name, and how each is read."""

from collections.abc import Callable
from pathlib import Path

from stages.core.base.errors import ParamsError
from stages.core.datasets.coco import read_coco
from stages.core.datasets.samples import Source
from stages.core.datasets.synthetic import read_synthetic
from stages.core.datasets.tfrecord import read_tfrecord
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
    return read_voc(folder, images=params.images)


def _tfrecord(params: PrepareParams, folder: Path, scratch: Path, workers: Workers) -> Source:
    return read_tfrecord(folder, scratch, annotations=params.annotations, label_map=params.label_map)


READERS: dict[str, Reader] = {"synthetic": _synthetic, "coco": _coco, "voc": _voc, "tfrecord": _tfrecord}
USES: dict[str, tuple[str, ...]] = {
    "synthetic": (),
    "coco": ("annotations", "images"),
    "voc": ("images",),
    "tfrecord": ("annotations", "label_map"),
}
"""Source to the parameters that say where in `prepare.path` something is; any other one is refused for it."""


def read_any_source(params: PrepareParams, folder: Path, scratch: Path, workers: Workers) -> Source:
    """Reads what `prepare.source` names.

    Raises:
      ParamsError: for a parameter that the source does not use.
      DataError, ForeignConfigError: as the reader.
    """
    for name in ("annotations", "images", "label_map"):
        if params.source != "synthetic" and getattr(params, name) is not None and name not in USES[params.source]:
            users = ", ".join(source for source, used in USES.items() if name in used)
            raise ParamsError(f"prepare.{name}: only for source {users}; source {params.source} does not use it")
    return READERS[params.source](params, folder, scratch, workers)
