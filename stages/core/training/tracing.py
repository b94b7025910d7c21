"""Model Garden's input pipeline traced with what it has no options for: decoding, resizing, pixel scaling, anchors.

Both of its parsers, and both of their methods, call these functions by their module or class.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import tensorflow as tf
from official.vision.dataloaders.tf_example_decoder import TfExampleDecoder
from official.vision.ops import anchor, preprocess_ops

from stages.core.detectors.ssd_anchors import SsdAnchorConfig, ssd_level_anchors

MOST_LEVELS = 255.0


@contextmanager
def traced_as(task_config: Any) -> Iterator[None]:
    """Within it, images are decoded as everywhere else, and resized and scaled as the configuration says.

    Boxes and masks follow.

    Args:
      task_config: `task` of the experiment.
    """
    pixels = task_config.model.pixels
    with ExitStack() as changes:
        changes.callback(setattr, TfExampleDecoder, "_decode_image", TfExampleDecoder._decode_image)
        TfExampleDecoder._decode_image = _decode_exactly
        change = functools.partial(_changed, changes)
        change(preprocess_ops, "resize_and_crop_image", keep_aspect_ratio=task_config.resize == "letterbox")
        # It is called with whole numbers, which it first divides by 255.
        change(
            preprocess_ops,
            "normalize_image",
            offset=[value / MOST_LEVELS for value in pixels.mean],
            scale=[value / MOST_LEVELS for value in pixels.deviation],
        )
        if isinstance(task_config.model.anchor, SsdAnchorConfig):
            changes.callback(setattr, anchor, "build_anchor_generator", anchor.build_anchor_generator)
            anchor.build_anchor_generator = lambda **_: anchor_generator(task_config.model)
        yield


def _decode_exactly(_: TfExampleDecoder, parsed: dict[str, tf.Tensor]) -> tf.Tensor:
    """uint8 [height, width, 3] of a JPEG or PNG, the pixels that Pillow and OpenCV decode.

    TensorFlow's default for JPEG is a faster transform, off by one or two levels on average and by up to 16.
    """
    return tf.io.decode_jpeg(parsed["image/encoded"], channels=3, dct_method="INTEGER_ACCURATE")


def anchor_generator(config: Any) -> Callable[..., dict[str, Any]]:
    """What lays SSD's anchors over an input of (height, width), per level float32 [h, w, anchors * 4] in pixels.

    Args:
      config: `task.model` of the experiment.
    """

    def generate(image_size: tuple[int, int]) -> dict[str, Any]:
        boxes = ssd_level_anchors(config.anchor, config.levels, image_size)
        return {level: tf.constant(values) for level, values in boxes.items()}

    return generate


def _changed(changes: ExitStack, module: Any, name: str, **defaults: Any) -> None:
    """Gives a function of a module other arguments, until the changes are taken back."""
    original = getattr(module, name)
    changes.callback(setattr, module, name, original)
    setattr(module, name, _with_arguments(original, defaults))


def _with_arguments(function: Any, arguments: dict[str, Any]) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **{**kwargs, **arguments})

    return call
