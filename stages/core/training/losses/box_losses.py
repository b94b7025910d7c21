"""THE TABLE of box losses: what a positive anchor's box costs.

`huber` measures the code that the head predicts; the others measure the decoded box, and so what the evaluation does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf
import tf_keras

from stages.core.training.losses.boxes import paired_ciou, paired_giou


@dataclass(frozen=True, kw_only=True)
class BoxPairs:
    """Positive anchors, what they predict and what they should: float32 [P, 4] each.

    Attributes:
      codes, target_codes: Of the box coder, times its weights.
      boxes, target_boxes: [y_min, x_min, y_max, x_max] in input pixels.
    """

    codes: tf.Tensor
    target_codes: tf.Tensor
    boxes: tf.Tensor
    target_boxes: tf.Tensor


@dataclass(frozen=True, kw_only=True)
class BoxLoss:
    """One way to measure a box's error.

    Attributes:
      function: (pairs of P boxes, Huber delta) to the loss of each, float32 [P].
      weight: What the class loss is balanced with unless parameters say otherwise.
      summary: One line for `--help` and docs.
      source: Paper, or where the implementation comes from.
    """

    function: Callable[[BoxPairs, float], tf.Tensor]
    weight: float
    summary: str
    source: str


def huber_box_loss(pairs: BoxPairs, delta: float) -> tf.Tensor:
    """Huber loss of the codes, mean over the four numbers: float32 [P], 0 or more."""
    return tf_keras.losses.huber(pairs.target_codes, pairs.codes, delta)


def giou_box_loss(pairs: BoxPairs, delta: float = 0.0) -> tf.Tensor:
    """1 - generalized IoU (Rezatofighi et al., CVPR 2019): float32 [P], 0..2. `delta` is not used."""
    return 1.0 - paired_giou(pairs.boxes, pairs.target_boxes)


def ciou_box_loss(pairs: BoxPairs, delta: float = 0.0) -> tf.Tensor:
    """1 - complete IoU (Zheng et al., AAAI 2020): float32 [P], 0 or more. `delta` is not used."""
    return 1.0 - paired_ciou(pairs.boxes, pairs.target_boxes)


BOX_LOSSES: dict[str, BoxLoss] = {
    "huber": BoxLoss(
        function=huber_box_loss,
        weight=50.0,
        summary="smooth L1 distance of the encoded boxes",
        source="official.vision.tasks.retinanet, with Model Garden's weight",
    ),
    "giou": BoxLoss(
        function=giou_box_loss,
        weight=2.0,
        summary="1 - generalized IoU of the decoded boxes",
        source="Rezatofighi et al., CVPR 2019; weight of ATSS (CVPR 2020) and TOOD (ICCV 2021)",
    ),
    "ciou": BoxLoss(
        function=ciou_box_loss,
        weight=2.0,
        summary="1 - IoU, with the distance of the centres and the aspect ratio",
        source="Zheng et al., AAAI 2020; weight as for giou",
    ),
}
