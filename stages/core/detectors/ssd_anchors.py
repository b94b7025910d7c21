"""SSD's anchors: on each map boxes of a few shapes in every cell, whose sizes are shares of the input's shorter side.

Sources: Liu et al., "SSD: Single Shot MultiBox Detector" (ECCV 2016), section 2.2; `ssd_anchor_generator` of the TF
Object Detection API, whose order and sizes these are.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from official.vision.configs import retinanet as rn

SHAPES_OF_THE_FIRST_MAP = ((0.1, 1.0), (None, 2.0), (None, 0.5))
"""(scale, aspect ratio) where the first map has fewer; None is the map's own scale."""


@dataclasses.dataclass
class SsdAnchorConfig(rn.Anchor):  # type: ignore[misc]
    """Names and meaning as in `SsdAnchorParams`; of Model Garden's fields only `aspect_ratios` means something here."""

    aspect_ratios: list[float] = dataclasses.field(default_factory=lambda: [1.0, 2.0, 0.5, 3.0, 0.3333])
    min_scale: float = 0.2
    max_scale: float = 0.95
    between_scales: bool = True
    fewer_on_first_map: bool = True


def anchor_shapes(config: SsdAnchorConfig, num_maps: int) -> list[list[tuple[float, float]]]:
    """(scale, aspect ratio) of a cell's anchors, map by map, finest first."""
    step = (config.max_scale - config.min_scale) / (num_maps - 1)
    scales = [config.min_scale + step * index for index in range(num_maps)] + [1.0]
    shapes = []
    for scale, following in itertools.pairwise(scales):
        own = [(scale, float(ratio)) for ratio in config.aspect_ratios]
        shapes.append([*own, (math.sqrt(scale * following), 1.0)] if config.between_scales else own)
    if config.fewer_on_first_map:
        shapes[0] = [(scales[0] if scale is None else scale, ratio) for scale, ratio in SHAPES_OF_THE_FIRST_MAP]
    return shapes


def map_sizes(input_size: tuple[int, int], levels: Sequence[int]) -> list[tuple[int, int]]:
    """(height, width) in cells of each level's map: every step halves and rounds up."""
    return [(-(-input_size[0] // 2**level), -(-input_size[1] // 2**level)) for level in levels]


def ssd_level_anchors(
    config: SsdAnchorConfig, levels: Sequence[int], input_size: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Anchor boxes per level: float32 [h, w, anchors * 4], [y_min, x_min, y_max, x_max] in input pixels; not clipped.

    Args:
      config: `task.model.anchor` of the experiment.
      levels: Of the maps, finest first.
      input_size: (height, width) in pixels.
    """
    boxes = {}
    sizes, shapes = map_sizes(input_size, levels), anchor_shapes(config, len(levels))
    for level, (rows, columns), own in zip(levels, sizes, shapes, strict=True):
        scales, ratios = np.asarray(own, np.float64).T
        sides = np.stack([scales / np.sqrt(ratios), scales * np.sqrt(ratios)], axis=-1) * min(input_size)
        y_centers = (np.arange(rows) + 0.5) / rows * input_size[0]
        x_centers = (np.arange(columns) + 0.5) / columns * input_size[1]
        centers = np.stack(np.meshgrid(y_centers, x_centers, indexing="ij"), axis=-1)[:, :, None]
        corners = np.concatenate([centers - sides / 2, centers + sides / 2], axis=-1)
        boxes[str(level)] = corners.reshape(rows, columns, -1).astype(np.float32)
    return boxes
