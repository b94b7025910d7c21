"""Images resized as a training's `resize` says, where Model Garden's parser has no option for it: Mask R-CNN's.

Both of its parsers call one function, which has the option.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from official.vision.ops import preprocess_ops


@contextmanager
def resize_as(resize: str) -> Iterator[None]:
    """Within it, Model Garden's parsers are traced with images resized like this; boxes and masks follow by themselves.

    Args:
      resize: `letterbox` or `stretch`, as in `TrainSettings`.
    """
    original = preprocess_ops.resize_and_crop_image
    preprocess_ops.resize_and_crop_image = functools.partial(original, keep_aspect_ratio=resize == "letterbox")
    try:
        yield
    finally:
        preprocess_ops.resize_and_crop_image = original
