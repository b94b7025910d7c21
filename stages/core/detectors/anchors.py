"""The anchor boxes of a configuration, as Model Garden lays them over the input."""

from typing import Any

import numpy as np
from official.vision.ops import anchor


def level_anchors(config: Any, input_size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Anchor boxes per pyramid level: float32 [cells * anchors, 4], [y_min, x_min, y_max, x_max] in input pixels.

    Args:
      config: `task.model` of the experiment.
      input_size: (height, width) in pixels.
    """
    boxes = anchor.Anchor(
        min_level=config.min_level,
        max_level=config.max_level,
        num_scales=config.anchor.num_scales,
        aspect_ratios=config.anchor.aspect_ratios,
        anchor_size=config.anchor.anchor_size,
        image_size=input_size,
    ).multilevel_boxes
    return {level: np.asarray(value, np.float32).reshape(-1, 4) for level, value in boxes.items()}
