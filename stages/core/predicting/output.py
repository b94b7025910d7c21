"""The output folder of `predict`: what it holds, and how it comes into being."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.core.base.errors import UsageError
from stages.core.base.folders import replaced_folder
from stages.core.base.jsonfile import write_json
from stages.core.predicting.inputs import Frame
from stages.core.predicting.records import to_coco_images, to_coco_results, to_csv_rows, write_crops, write_csv
from stages.core.predicting.video import VIDEO_SUFFIXES, WRITTEN_SUFFIX, VideoFile, read_speed
from stages.core.processing.detections import Detections

DRAWN_FOLDER, CROPS_FOLDER = "drawn", "crops"
COCO_RESULTS, COCO_IMAGES, CSV_TABLE, RUN_RECORD = "detections.json", "images.json", "detections.csv", "prediction.json"
OURS = frozenset({DRAWN_FOLDER, CROPS_FOLDER, COCO_RESULTS, COCO_IMAGES, CSV_TABLE, RUN_RECORD})
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")


@contextmanager
def new_output(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` when the block ends well.

    Raises:
      UsageError: if that is a file, or a folder that holds anything that `predict` does not write.
    """
    folder = folder.resolve()
    if folder.exists():
        strangers = sorted(path.name for path in folder.iterdir() if path.name not in OURS) if folder.is_dir() else []
        if strangers or not folder.is_dir():
            found = f"holds {', '.join(strangers[:4])}" if strangers else "is a file"
            raise UsageError(f"--out: {folder} {found}; expected a new folder, or one of an earlier prediction")
    with replaced_folder(folder) as partial:
        yield partial


@dataclass
class Output:
    """Collects what was found, and writes pictures as they come.

    Attributes:
      folder: Where everything goes.
      labels: Category id to name.
      with_crops: Whether boxes are cut out.
      images: Entries of images.json so far; objects: number of detections by class name.
    """

    folder: Path
    labels: Mapping[int, str]
    with_crops: bool
    images: list[dict[str, Any]] = field(default_factory=list)
    objects: Counter[str] = field(default_factory=Counter)
    _results: list[dict[str, Any]] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _names: dict[Path, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _video: tuple[Path, VideoFile] | None = None

    def add(self, frame: Frame, detections: Detections, drawn: np.ndarray) -> None:
        """Takes the detections of one image or picture of a video, and writes the drawn one."""
        image_id, name = len(self.images) + 1, self._name(frame.path)
        file_name = str(frame.path) if frame.number is None else f"{frame.path}#{frame.number}"
        height, width = frame.pixels.shape[:2]
        self.images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
        self.objects.update(self.labels.get(int(category), str(category)) for category in detections.classes)
        self._results += to_coco_results(image_id, detections)
        self._rows += to_csv_rows(image_id, file_name, detections, self.labels)
        if self.with_crops:
            stem = Path(name).stem if frame.number is None else f"{Path(name).stem}_{frame.number:06d}"
            write_crops(frame.pixels, detections, self.labels, self.folder / CROPS_FOLDER, name=stem)
        self._write_drawn(frame, drawn, self.folder / DRAWN_FOLDER / name)

    def finish(self) -> None:
        """Writes the files for other programs."""
        self.close()
        write_json(self._results, self.folder / COCO_RESULTS)
        write_json(to_coco_images(self.images, self.labels), self.folder / COCO_IMAGES)
        write_csv(self._rows, self.folder / CSV_TABLE)

    def close(self) -> None:
        """Finishes the video that is being written, if one is."""
        if self._video is not None:
            self._video[1].close()
            self._video = None

    def _write_drawn(self, frame: Frame, drawn: np.ndarray, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        if frame.number is None:
            Image.fromarray(drawn).save(path, quality=92)
            return
        if self._video is None or self._video[0] != path:
            self.close()
            self._video = path, VideoFile(path, fps=read_speed(frame.path))
        self._video[1].add(drawn)

    def _name(self, path: Path) -> str:
        """The file name of what is drawn: like the input's, with a number where two inputs share one."""
        if path not in self._names:
            stem, number = path.stem, 1
            suffix = ".jpg" if path.suffix.lower() in JPEG_SUFFIXES else ".png"
            if path.suffix.lower() in VIDEO_SUFFIXES:
                suffix = WRITTEN_SUFFIX
            name = f"{stem}{suffix}"
            while name in self._taken:
                number += 1
                name = f"{stem}_{number}{suffix}"
            self._names[path] = name
            self._taken.add(name)
        return self._names[path]
