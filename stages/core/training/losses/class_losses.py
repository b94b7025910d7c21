"""THE TABLE of class losses: what the scores of all anchors cost.

All take logits and targets [..., C] and give the loss of each number, float32 [..., C]. `varifocal` and `quality_focal`
train a score to say how good the box is: their targets are 0..1, and the score then ranks boxes as the evaluation does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf
from official.vision.losses.focal_loss import FocalLoss


@dataclass(frozen=True, kw_only=True)
class ClassLoss:
    """One way to measure scores.

    Attributes:
      function: (logits [..., C], targets [..., C], alpha, gamma) to float32 [..., C].
      alpha, gamma: Defaults: of Model Garden for focal, of the papers for the others.
      learns_quality: Whether targets are the quality of the box, 0..1, and not 0 or 1.
      summary: One line for `--help` and docs.
      source: Paper, or where the implementation comes from.
    """

    function: Callable[[tf.Tensor, tf.Tensor, float, float], tf.Tensor]
    alpha: float
    gamma: float
    learns_quality: bool
    summary: str
    source: str


def focal_class_loss(logits: tf.Tensor, targets: tf.Tensor, alpha: float, gamma: float) -> tf.Tensor:
    """Focal loss (Lin et al., ICCV 2017) as Model Garden computes it; targets are 0 or 1.

    Args:
      alpha: Factor of positives, 0..1; negatives have 1 - alpha.
      gamma: Exponent that plays down what is classified well already.
    """
    return FocalLoss(alpha=alpha, gamma=gamma).call(targets, logits)


def varifocal_class_loss(logits: tf.Tensor, targets: tf.Tensor, alpha: float, gamma: float) -> tf.Tensor:
    """Varifocal loss (Zhang et al., CVPR 2021, equation 2); targets are the IoU of the box, 0 for negatives.

    Positives are weighted by their target, negatives by alpha * score^gamma: good boxes count most.
    """
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    return entropy * tf.where(targets > 0, targets, alpha * _power(tf.sigmoid(logits), gamma))


def quality_focal_class_loss(logits: tf.Tensor, targets: tf.Tensor, alpha: float, gamma: float) -> tf.Tensor:
    """Quality focal loss (Li et al., "Generalized Focal Loss", NeurIPS 2020, equation 4); targets are 0..1.

    Args:
      alpha: Not used: the distance from the target balances positives and negatives.
      gamma: The paper's beta, exponent of that distance.
    """
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    return entropy * _power(tf.abs(targets - tf.sigmoid(logits)), gamma)


def _power(values: tf.Tensor, exponent: float) -> tf.Tensor:
    # pow costs several times what a multiplication does, on as many numbers as there are anchors times classes.
    return tf.square(values) if exponent == 2.0 else tf.pow(values, exponent)


CLASS_LOSSES: dict[str, ClassLoss] = {
    "focal": ClassLoss(
        function=focal_class_loss,
        alpha=0.25,
        gamma=1.5,
        learns_quality=False,
        summary="cross-entropy that plays down easy anchors",
        source="Lin et al., ICCV 2017; official.vision.losses.focal_loss, with Model Garden's alpha and gamma",
    ),
    "varifocal": ClassLoss(
        function=varifocal_class_loss,
        alpha=0.75,
        gamma=2.0,
        learns_quality=True,
        summary="scores learn the IoU of the box; good boxes count most",
        source="Zhang et al., VarifocalNet, CVPR 2021",
    ),
    "quality_focal": ClassLoss(
        function=quality_focal_class_loss,
        alpha=1.0,
        gamma=2.0,
        learns_quality=True,
        summary="scores learn the IoU of the box; weighted by their distance from it",
        source="Li et al., Generalized Focal Loss, NeurIPS 2020",
    ),
}
