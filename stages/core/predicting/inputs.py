"""What a user points at, images, folders, patterns and videos, as a list of files; and their pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.core.base.errors import DataError
from stages.core.datasets.decoding import SUFFIXES, RefusedError, decode_image
from stages.core.predicting.video import VIDEO_SUFFIXES, require_video, video_frames

MAX_SIDE = 65_535
"""The longest side that a JPEG can have; Pillow's own limit on the number of pixels holds as well."""
REASONS = {
    "several_frames": "holds several pictures; save the one that is meant as a file of its own",
    "too_large": "too large",
    "unsupported_pixels": "unsupported pixels",
}
"""What a refusal is called here; those not listed keep their own name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One image, or one picture of a video.

    Attributes:
      path: The file that it comes from.
      number: Of the picture in its video, from 1; None for an image.
      pixels: uint8 [height, width, 3], RGB, upright.
    """

    path: Path
    number: int | None = None
    pixels: np.ndarray


class UnreadableError(Exception):
    """An input that has no picture in it; the text says why."""


def find_inputs(sources: Sequence[str]) -> tuple[Path, ...]:
    """The files behind what a user named, each once, in the order they were named.

    A folder stands for the images and videos directly in it, by suffix and in order of names; a pattern (`*`, `?`,
    `[]`; `**` for folders within folders) for those it meets. A file that is named is taken whatever its suffix.

    Raises:
      DataError: if there is no such file or folder, or no image or video in it.
      UsageError: if there is a video among them and no library that reads it.
    """
    found: dict[Path, Path] = {}
    for source in sources:
        for path in _find(source):
            found.setdefault(path.resolve(), path)
    if any(map(is_video, found.values())):
        require_video(next(path for path in found.values() if is_video(path)))
    return tuple(found.values())


def read_frames(path: Path) -> Iterator[Frame]:
    """The image of a file, or the pictures of a video one by one.

    Raises:
      UnreadableError: if it cannot be decoded. Pictures of a video may have come before.
    """
    if is_video(path):
        number = 0
        for number, pixels in enumerate(video_frames(path), start=1):
            yield Frame(path=path, number=number, pixels=pixels)
        if not number:
            raise UnreadableError("no picture in it that OpenCV can decode")
        return
    yield Frame(path=path, pixels=read_picture(path))


def read_picture(path: Path) -> np.ndarray:
    """The pixels of an image file, as `decode_picture` gives them.

    Raises:
      UnreadableError: if the file cannot be read or decoded.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from None
    return decode_picture(data, path.name)


def decode_picture(data: bytes, name: str = "") -> np.ndarray:
    """The pixels of an image as `prepare` would take them: upright by its EXIF tag, uint8 [height, width, 3], RGB.

    Raises:
      UnreadableError: if it cannot be decoded.
    """
    try:
        return decode_image(data, file=name, max_side=MAX_SIDE, annotated_size=None, has_objects=False).pixels
    except RefusedError as error:
        if error.reason == "several_frames":
            raise UnreadableError(REASONS[error.reason]) from None
        reason = REASONS.get(error.reason, error.reason)
        raise UnreadableError(f"{reason}: {error.detail}" if error.detail else reason) from None


def is_video(path: Path) -> bool:
    """Whether a file's suffix is a video's."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def _find(source: str) -> list[Path]:
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        return _pictures(files, f"{source}: a folder without images or videos ({len(files)} other files)")
    if any(character in source for character in "*?["):
        try:
            met = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        except ValueError as error:
            raise DataError(f"{source}: not a pattern for file names: {error}") from None
        return _pictures([file for file in met if file.is_file()], f"{source}: no image or video has such a name")
    raise DataError(f"{source}: no such image, folder or video")


def _pictures(files: Sequence[Path], otherwise: str) -> list[Path]:
    pictures = [file for file in files if file.suffix.lower() in SUFFIXES or is_video(file)]
    if not pictures:
        known = ", ".join(sorted([*SUFFIXES, *VIDEO_SUFFIXES]))
        raise DataError(f"{otherwise}; expected one of {known}")
    return pictures
