"""Reading and writing videos with OpenCV, which a plain install does not have."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.base.errors import DataError, UsageError

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
WRITTEN_SUFFIX, WRITTEN_CODEC = ".mp4", "mp4v"
FALLBACK_FPS = 25.0
"""Pictures per second of a video that does not say."""


def require_video(path: Path) -> None:
    """Raises UsageError unless there is a library that reads videos."""
    try:
        found = find_spec("cv2") is not None
    except ValueError:
        found = False
    if not found:
        raise UsageError(
            f"{path}: reading a video needs OpenCV, which is not installed: pip install 'edge-detectors[video]'"
        )


def video_frames(path: Path) -> Iterator[np.ndarray]:
    """The pictures of a video, upright by its rotation tag: uint8 [height, width, 3], RGB. None if it has none."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    try:
        while True:
            done, pixels = capture.read()
            if not done:
                return
            yield cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def read_speed(path: Path) -> float:
    """Pictures per second that a video states, or 25 where it states none."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    speed = float(capture.get(cv2.CAP_PROP_FPS))
    capture.release()
    return speed if 0 < speed < 1000 else FALLBACK_FPS


class VideoFile:
    """A video being written, MPEG-4 in an .mp4; a context manager.

    Raises:
      DataError: when OpenCV refuses to write it.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        self._path, self._fps = path, fps
        self._writer: Any = None

    def add(self, pixels: np.ndarray) -> None:
        """Appends uint8 [height, width, 3] RGB; all of one size, an odd side loses its last row or column."""
        import cv2

        height, width = (side // 2 * 2 for side in pixels.shape[:2])
        if self._writer is None:
            code = cv2.VideoWriter.fourcc(*WRITTEN_CODEC)
            self._writer = cv2.VideoWriter(str(self._path), code, self._fps, (width, height))
            if not self._writer.isOpened():
                raise DataError(f"{self._path}: OpenCV cannot write a video ({WRITTEN_CODEC}) here")
        self._writer.write(cv2.cvtColor(np.ascontiguousarray(pixels[:height, :width]), cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finishes the file."""
        if self._writer is not None:
            self._writer.release()
