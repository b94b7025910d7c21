"""Anchor boxes, between the API's three generators and `train.anchors` or an SSDLite's `train.ssd_anchors`.

`anchors.size` is a box's side in strides of its feature map, at levels of strides 8 (Mask R-CNN: 4) to 64.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

from stages.core.tfod.conversion import ConfigConversion

FIRST_SSD_STRIDE = 16
"""Of the finest map of an SSD on MobileDet or MobileNetV2."""
COARSEST_STRIDE = 64
GRID_BASE = 256
"""Side in pixels of a grid generator's anchor of scale 1."""
SSD_GENERATOR, NUM_MAPS = "ssd_anchor_generator", 6
SQUARE = "a scale is a share of the input's shorter side, for height and width alike"
SMALLEST_LEVEL, LARGEST_LEVEL = 2, 6
"""Of a Mask R-CNN on ResNet-50 here."""


def import_anchors(conversion: ConfigConversion, input_side: int) -> None:
    """Sets `train.anchors`, or `train.ssd_anchors` for a row that has these.

    Args:
      input_side: The shorter side of the input in pixels.
    """
    meta = conversion.counterpart.meta
    outer = f"model.{meta}.{'anchor_generator' if meta == 'ssd' else 'first_stage_anchor_generator'}"
    kind = conversion.one_of(outer)
    if conversion.counterpart.detector.has_ssd_anchors:
        _import_ssdlite(conversion, outer, kind)
        return
    importers = {
        "ssd_anchor_generator": _import_ssd,
        "multiscale_anchor_generator": _import_multiscale,
        "grid_anchor_generator": _import_grid,
    }
    if kind in importers:
        ratios = conversion.numbers(f"{outer}.{kind}.aspect_ratios")
        if ratios:
            conversion.give(f"{outer}.{kind}.aspect_ratios", "train.anchors.aspect_ratios", ratios)
        importers[kind](conversion, f"{outer}.{kind}", input_side)
    elif kind:
        conversion.excuse(f"{outer}.{kind}", "its anchors are no pyramid: the row's own are used")


def _import_ssdlite(conversion: ConfigConversion, outer: str, kind: str) -> None:
    path = f"{outer}.{SSD_GENERATOR}"
    if kind != SSD_GENERATOR:
        if kind:
            conversion.excuse(f"{outer}.{kind}", "an SSDLite's anchors are those of an ssd_anchor_generator")
        return
    for name, default in (("min_scale", 0.2), ("max_scale", 0.95)):
        conversion.give(f"{path}.{name}", f"train.ssd_anchors.{name}", conversion.number(f"{path}.{name}", default))
    if ratios := conversion.numbers(f"{path}.aspect_ratios"):
        conversion.give(f"{path}.aspect_ratios", "train.ssd_anchors.aspect_ratios", ratios)
    key = f"{path}.interpolated_scale_aspect_ratio"
    between = conversion.number(key, 1.0)
    note = "" if between in (0.0, 1.0) else f"a square one, not of aspect ratio {between:g}"
    conversion.give(key, "train.ssd_anchors.between_scales", between > 0, note)
    key = f"{path}.reduce_boxes_in_lowest_layer"
    conversion.give(key, "train.ssd_anchors.fewer_on_first_map", conversion.flag(key, True))
    for name, is_row, reason in (
        ("num_layers", conversion.integer(f"{path}.num_layers", NUM_MAPS) == NUM_MAPS, "the row has six maps"),
        ("scales", False, "scales are evenly spaced, from min_scale to max_scale"),
        *((f"base_anchor_{side}", conversion.number(f"{path}.base_anchor_{side}", 1.0) == 1, SQUARE)
          for side in ("height", "width")),
    ):  # fmt: skip
        conversion.excuse(f"{path}.{name}", "as in the row" if is_row else reason)
    for name in ("height_stride", "width_stride", "height_offset", "width_offset"):
        conversion.excuse(f"{path}.{name}", "anchors lie in the middle of each cell")


def _import_ssd(conversion: ConfigConversion, path: str, input_side: int) -> None:
    scales = conversion.numbers(f"{path}.scales")
    smallest = scales[0] if scales else conversion.number(f"{path}.min_scale", 0.2)
    size = _tidy(smallest * input_side / FIRST_SSD_STRIDE)
    note = "the smallest anchor at stride 16 as in the API; from there sizes double from level to level"
    conversion.give(f"{path}.{'scales[0]' if scales else 'min_scale'}", "train.anchors.size", size, note)
    between = conversion.number(f"{path}.interpolated_scale_aspect_ratio", 1.0)
    note = "a second scale half-way to the next level, at every aspect ratio" if between > 0 else ""
    key = f"{path}.interpolated_scale_aspect_ratio"
    conversion.give(key, "train.anchors.num_scales", 2 if between > 0 else 1, note)


def _import_multiscale(conversion: ConfigConversion, path: str, input_side: int) -> None:
    conversion.give(f"{path}.anchor_scale", "train.anchors.size", conversion.number(f"{path}.anchor_scale", 4.0))
    per_octave = conversion.integer(f"{path}.scales_per_octave", 2)
    conversion.give(f"{path}.scales_per_octave", "train.anchors.num_scales", per_octave)
    conversion.excuse(f"{path}.min_level", "the row's levels are 3 to 6")
    conversion.excuse(f"{path}.max_level", "the row's levels are 3 to 6")


def _import_grid(conversion: ConfigConversion, path: str, input_side: int) -> None:
    scales = sorted(conversion.numbers(f"{path}.scales"))
    if not scales:
        return
    base = conversion.integer(f"{path}.height", GRID_BASE)
    steps = [math.log2(large / small) for small, large in itertools.pairwise(scales) if 0 < small < large]
    num_scales = max(1, round(1 / min(steps))) if steps else 1
    size = _tidy(scales[-1] * base / COARSEST_STRIDE / 2 ** ((num_scales - 1) / num_scales))
    note = "the largest as in the API, and halves of it at the finer levels of the pyramid"
    conversion.give(f"{path}.scales", "train.anchors.size", size, note)
    conversion.give(f"{path}.scales", "train.anchors.num_scales", num_scales, note)


def ssd_anchors(anchors: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of an `ssd_anchor_generator` that lays the anchors of `train.ssd_anchors`."""
    return {
        "num_layers": NUM_MAPS,
        "min_scale": float(anchors["min_scale"]),
        "max_scale": float(anchors["max_scale"]),
        "interpolated_scale_aspect_ratio": 1.0 if anchors["between_scales"] else 0.0,
        "reduce_boxes_in_lowest_layer": anchors["fewer_on_first_map"],
        "aspect_ratios": [float(ratio) for ratio in anchors["aspect_ratios"]],
    }


def grid_anchors(anchors: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a `grid_anchor_generator` with the sizes of all levels of the row."""
    number = anchors["num_scales"]
    sides = [
        anchors["size"] * 2 ** (level + octave / number)
        for level in range(SMALLEST_LEVEL, LARGEST_LEVEL + 1)
        for octave in range(number)
    ]
    ratios = [float(ratio) for ratio in anchors["aspect_ratios"]]
    return {"scales": [_tidy(side / GRID_BASE) for side in sides], "aspect_ratios": ratios}


def _tidy(value: float) -> float:
    """Rounded to what a float32 holds."""
    return float(f"{value:.7g}")
