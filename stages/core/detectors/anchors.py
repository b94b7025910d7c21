"""The anchor boxes of a configuration, as they are laid over the input."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from official.vision.ops import anchor

from stages.core.detectors.ssd_anchors import SsdAnchorConfig, ssd_level_anchors


def level_anchors(config: Any, input_size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Anchor boxes per pyramid level: float32 [cells * anchors, 4], [y_min, x_min, y_max, x_max] in input pixels.

    Args:
      config: `task.model` of the experiment.
      input_size: (height, width) in pixels.
    """
    boxes = LAYOUTS.get(type(config.anchor), _lay_pyramid)(config, input_size)
    return {level: np.asarray(value, np.float32).reshape(-1, 4) for level, value in boxes.items()}


def _lay_pyramid(config: Any, input_size: tuple[int, int]) -> Mapping[str, Any]:
    pyramid = anchor.Anchor(
        min_level=config.min_level,
        max_level=config.max_level,
        num_scales=config.anchor.num_scales,
        aspect_ratios=config.anchor.aspect_ratios,
        anchor_size=config.anchor.anchor_size,
        image_size=input_size,
    )
    boxes: Mapping[str, Any] = pyramid.multilevel_boxes
    return boxes


def _lay_ssd(config: Any, input_size: tuple[int, int]) -> Mapping[str, Any]:
    return ssd_level_anchors(config.anchor, config.levels, input_size)


LAYOUTS: dict[type, Callable[[Any, tuple[int, int]], Mapping[str, Any]]] = {SsdAnchorConfig: _lay_ssd}
"""By the anchors' configuration; all others are pyramids."""
