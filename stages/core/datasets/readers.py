"""THE TABLE of data sources: what `prepare.source` may name, and how each is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.core.base.errors import DataError, ParamsError
from stages.core.datasets.coco import read_coco
from stages.core.datasets.csv_boxes import read_csv
from stages.core.datasets.folder_hints import FORMATS, recognise_folder
from stages.core.datasets.mask_files import read_masks
from stages.core.datasets.outline_files import read_labelme, read_via
from stages.core.datasets.paths import PATH_KEYS, check_links, check_paths
from stages.core.datasets.samples import Source
from stages.core.datasets.synthetic import read_synthetic
from stages.core.datasets.tfrecord import read_tfrecord
from stages.core.datasets.voc import read_voc
from stages.core.datasets.workers import Workers
from stages.core.datasets.yolo import read_yolo
from stages.core.params.steps import PrepareParams


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One row.

    Attributes:
      read: (parameters, folder that `prepare.path` names, empty folder for files of its own, workers) to a source.
      uses: Those of `PATH_KEYS` that mean something to it; any other one is refused.
      splits: Whether `annotations` may name one file for each split.
    """

    read: Callable[[PrepareParams, Path, Path, Workers], Source]
    uses: tuple[str, ...] = ()
    splits: bool = True


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


def _csv(params: PrepareParams, folder: Path, scratch: Path, workers: Workers) -> Source:
    return read_csv(folder, annotations=params.annotations, images=params.images)


def _yolo(params: PrepareParams, folder: Path, scratch: Path, workers: Workers) -> Source:
    assert not isinstance(params.annotations, Mapping)
    return read_yolo(folder, annotations=params.annotations)


def _labelme(params: PrepareParams, folder: Path, scratch: Path, workers: Workers) -> Source:
    return read_labelme(folder, images=params.images)


def _via(params: PrepareParams, folder: Path, scratch: Path, workers: Workers) -> Source:
    return read_via(folder, annotations=params.annotations, images=params.images)


def _masks(params: PrepareParams, folder: Path, scratch: Path, workers: Workers) -> Source:
    return read_masks(folder, images=params.images)


READERS: dict[str, Reader] = {
    "synthetic": Reader(read=_synthetic, uses=PATH_KEYS),  # it reads nothing, so nothing is in its way
    "coco": Reader(read=_coco, uses=("annotations", "images")),
    "voc": Reader(read=_voc, uses=("images",)),
    "tfrecord": Reader(read=_tfrecord, uses=("annotations", "label_map")),
    "csv": Reader(read=_csv, uses=("annotations", "images")),
    "yolo": Reader(read=_yolo, uses=("annotations",), splits=False),
    "labelme": Reader(read=_labelme, uses=("images",)),
    "via": Reader(read=_via, uses=("annotations", "images")),
    "masks": Reader(read=_masks, uses=("images",)),
}


def settle_source(params: PrepareParams, folder: Path) -> tuple[PrepareParams, list[str]]:
    """The parameters with the source that `auto` stands for, and a note on it.

    Raises:
      ParamsError: for a parameter that the source does not use, or that leads out of the folder.
      DataError: if the folder is none of the formats, could be several, or holds a link out of it.
    """
    notes = []
    if params.source != "synthetic":
        check_paths(params, folder)
        check_links(folder)
    if params.source == "auto":
        fitting = recognise_folder(folder)
        if len(fitting) != 1:
            known = ", ".join(FORMATS)
            problem = f"could be {' or '.join(fitting)}" if fitting else "is none of the formats that are known"
            if not folder.is_dir():
                problem = "no such folder (prepare.path)"
            raise DataError(f"{folder}: {problem}; say which with prepare.source ({known})")
        notes = [f"prepare.source auto: {folder} is read as {fitting[0]}, as it holds {FORMATS[fitting[0]][0]}"]
        params = params.model_copy(update={"source": fitting[0]})
    reader = READERS[params.source]
    for name in PATH_KEYS:
        if getattr(params, name) is not None and name not in reader.uses:
            users = ", ".join(source for source, row in READERS.items() if name in row.uses and source in FORMATS)
            raise ParamsError(f"prepare.{name}: only for source {users}; source {params.source} does not use it")
    if isinstance(params.annotations, Mapping) and not reader.splits:
        raise ParamsError(f"prepare.annotations: source {params.source} has its splits in one file: name that one")
    return params, notes


def read_any_source(params: PrepareParams, folder: Path, scratch: Path, workers: Workers) -> Source:
    """Reads what `prepare.source` names.

    Raises:
      DataError, ForeignConfigError: as the reader; with the source that the folder looks like, if it is another.
    """
    try:
        return READERS[params.source].read(params, folder, scratch, workers)
    except DataError as error:
        fitting = [] if params.source == "synthetic" else recognise_folder(folder)
        if not fitting or params.source in fitting or "is prepare.source" in str(error):
            raise
        hint = f"the folder holds {FORMATS[fitting[0]][0]}: is prepare.source {fitting[0]}?"
        raise DataError(f"{error}; {hint}") from None
