"""Model Garden's parsers traced with the resizing and the pixel scaling of a training, which they have no options for.

Both of its parsers, and both of their methods, call these functions by their module.
"""

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from official.vision.ops import preprocess_ops

MOST_LEVELS = 255.0


@contextmanager
def traced_as(task_config: Any) -> Iterator[None]:
    """Within it, parsers are traced with images resized and scaled as the configuration says; boxes and masks follow.

    Args:
      task_config: `task` of the experiment.
    """
    pixels = task_config.model.pixels
    with ExitStack() as changes:
        change = functools.partial(_changed, changes)
        change(preprocess_ops, "resize_and_crop_image", keep_aspect_ratio=task_config.resize == "letterbox")
        # It is called with whole numbers, which it first divides by 255.
        change(
            preprocess_ops,
            "normalize_image",
            offset=[value / MOST_LEVELS for value in pixels.mean],
            scale=[value / MOST_LEVELS for value in pixels.deviation],
        )
        yield


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
