"""Anchors fitted to the training objects, in the parameters that Model Garden, export and post-processing know.

An anchor's side is size * stride * 2 ** (scale / num_scales), its shape one of the aspect ratios (width to height), and
every level has them all. Aspect ratios are found by k-means with IoU as the distance (Redmon and Farhadi, "YOLO9000",
CVPR 2017) over shapes of equal area, because levels and scales already cover the areas. The size is then the one that
reaches most objects.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.params.training import AnchorParams
from stages.core.results.training import FittedAnchors
from stages.core.training.anchor_check import MAX_MISSED, MIN_IOU, all_anchors, anchor_recall, read_boxes

SIZES = tuple(round(float(size), 2) for size in np.geomspace(1.0, 12.0, 44))
"""Sizes that are tried, in strides: in steps of 6 %, a quarter of the step between three scales. Below a stride,
objects would fall between anchors."""
RESTARTS = 10
MOST_ROUNDS = 100


@dataclass(frozen=True, kw_only=True)
class AnchorFit:
    """What a fit gave.

    Attributes:
      anchors: Parameters to train with; those that were given where there was nothing to fit, or nothing better.
      record: For result.json; None without objects.
      note: One line for the user.
    """

    anchors: AnchorParams
    record: FittedAnchors | None
    note: str


def fit_anchors(task: Any, given: AnchorParams, annotations: Path, *, seed: int, section: str) -> AnchorFit:
    """Finds `size` and `aspect_ratios`; `num_scales` and the number of aspect ratios stay.

    The given anchors are among the candidates: a fit never reaches fewer of the objects.

    Args:
      task: `task` of the experiment: input size, pyramid levels, and how images are resized.
      given: The parameters to start from.
      annotations: Prepared COCO JSON of the training split.
      seed: Of the restarts of k-means; the same seed gives the same anchors.
      section: Where the anchors are set in params.yaml, e.g. `train.retinanet_mobiledet_cpu`.
    """
    config = task.model
    input_size = (int(config.input_size[0]), int(config.input_size[1]))
    boxes = read_boxes(annotations, input_size, resize=task.resize)
    if not len(boxes):
        return AnchorFit(anchors=given, record=None, note="anchors: nothing to fit, train has no objects")
    sides = boxes[:, 2:] - boxes[:, :2]
    ratios = cluster_aspect_ratios(sides, len(given.aspect_ratios), seed=seed)
    tried = [given.model_copy(update={"size": size}) for size in SIZES]
    tried += [anchors.model_copy(update={"aspect_ratios": ratios}) for anchors in (given, *tried)]
    best = max([given, *tried], key=lambda anchors: _judge(boxes, config, anchors, input_size))
    recall, given_recall = (_measure(boxes, config, anchors, input_size) for anchors in (best, given))
    record = FittedAnchors(
        size=best.size,
        aspect_ratios=best.aspect_ratios,
        num_scales=best.num_scales,
        recall=recall,
        given_recall=given_recall,
    )
    return AnchorFit(anchors=best, record=record, note=_describe(record, len(boxes), section))


def cluster_aspect_ratios(sides: np.ndarray, num: int, *, seed: int) -> tuple[float, ...]:
    """Aspect ratios (width to height) that suit objects best, smallest first; fewer than `num` where some are the same.

    Args:
      sides: float32 [N, 2], heights and widths; N of at least 1.
      num: How many.
      seed: Of the random starts.
    """
    # Of two centred shapes of equal area, IoU depends on the difference of their log aspect ratios alone.
    logs = np.log(np.maximum(sides[:, 1], 1e-3) / np.maximum(sides[:, 0], 1e-3)).astype(np.float64)
    rng = np.random.default_rng(seed)
    starts = [np.quantile(logs, (np.arange(num) + 0.5) / num), *(rng.choice(logs, num) for _ in range(RESTARTS))]
    found = min((_settle(logs, start) for start in starts), key=lambda centers: _distance(logs, centers).min(1).mean())
    return tuple(sorted({round(float(np.exp(center)), 2) or 0.01 for center in found}))


def nearest_overlaps(boxes: np.ndarray, config: Any, anchors: AnchorParams, input_size: tuple[int, int]) -> np.ndarray:
    """IoU of each box with the anchor that overlaps it most: float32 [N], 0..1.

    Of all anchors of one shape and level, that is the one whose cell is nearest: the others need not be looked at.

    Args:
      boxes: float32 [N, 4], [y_min, x_min, y_max, x_max] in input pixels.
      config: `task.model` of the experiment, for its levels.
      input_size: (height, width) in pixels, multiples of every stride.
    """
    centers, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    aspects = np.sqrt(np.asarray(anchors.aspect_ratios, np.float32))
    scales = anchors.size * 2.0 ** (np.arange(anchors.num_scales) / anchors.num_scales)
    shapes = np.stack([np.outer(scales, 1 / aspects), np.outer(scales, aspects)], -1).reshape(-1, 2)
    best = np.zeros(len(boxes))
    for level in range(config.min_level, config.max_level + 1):
        stride = 2.0**level
        cells = np.clip(np.floor(centers / stride), 0, np.asarray(input_size) / stride - 1)
        shift = np.abs(centers - (cells + 0.5) * stride)[:, None]
        some, other = sides[:, None], shapes * stride
        common = np.minimum(np.minimum(some, other), np.maximum((some + other) / 2 - shift, 0)).prod(-1)
        union = some.prod(-1) + other.prod(-1) - common
        best = np.maximum(best, (common / np.maximum(union, 1e-9)).max(1))
    return best.astype(np.float32)


def _judge(boxes: np.ndarray, config: Any, anchors: AnchorParams, input_size: tuple[int, int]) -> tuple[float, float]:
    """What makes anchors better: the share of objects that they reach, in steps of 0.1 %, then the mean overlap."""
    overlaps = nearest_overlaps(boxes, config, anchors, input_size)
    return round(float((overlaps >= MIN_IOU).mean()), 3), float(overlaps.mean())


def _measure(boxes: np.ndarray, config: Any, anchors: AnchorParams, input_size: tuple[int, int]) -> float:
    """The recall by Model Garden's own anchors."""
    values = {"num_scales": anchors.num_scales, "aspect_ratios": list(anchors.aspect_ratios)}
    changed = config.replace(anchor={**values, "anchor_size": anchors.size})
    return anchor_recall(boxes, all_anchors(changed, input_size))


def _distance(logs: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """1 - IoU of shapes of equal area, by their log aspect ratios: [N, K], 0..1."""
    common = np.exp(-np.abs(logs[:, None] - centers) / 2)
    return np.asarray(1 - common / (2 - common))


def _settle(logs: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Lloyd's algorithm; a cluster's centre is the mean shape of its members, and stays where it has none."""
    for _ in range(MOST_ROUNDS):
        owners = _distance(logs, centers).argmin(1)
        moved = np.asarray(
            [
                np.log(np.exp(own / 2).mean() / np.exp(-own / 2).mean())
                if len(own := logs[owners == index])
                else center
                for index, center in enumerate(centers)
            ]
        )
        if np.allclose(moved, centers):
            break
        centers = moved
    return centers


def _describe(record: FittedAnchors, num: int, section: str) -> str:
    ratios = ", ".join(f"{ratio:g}" for ratio in record.aspect_ratios)
    text = (
        f"anchors: fitted size {record.size:g} and aspect_ratios [{ratios}]: {100 * record.recall:.1f} % of {num} "
        f"objects overlap one by IoU {MIN_IOU} or more, {100 * record.given_recall:.1f} % with those in params.yaml"
    )
    if 1 - record.recall <= MAX_MISSED:
        return text
    return (
        f"warning: {text}; no others found that reach more: a larger {section}.input_size may, or more anchors "
        "(anchors.num_scales, or more aspect_ratios to start from)"
    )
