"""How accurate a converted file is class by class, at IoU 0.5: curves, thresholds, confusions.

Counts are of objects and detections; crowds and ignored difficult objects, and detections that match nothing but
these, are in none of them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What a score threshold gives; precision, recall and F1 are 0..1.

    Attributes:
      score_threshold: Detections with at least this score are kept.
    """

    score_threshold: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True)
class ClassCurve:
    """Precision over recall of one class, or of all classes pooled.

    Attributes:
      num_objects: Ground-truth objects on the evaluated images.
      precision: COCO's interpolated precision (the best at this recall or above), 0..1, at recalls 0, 0.01, 0.02, ...
        up to the highest one that was reached; AP50 is the sum over these, divided by 101. Empty without objects and
        without detections.
      best: The point with the best F1, of several the one with the highest threshold; None where nothing was found.
    """

    num_objects: int
    precision: tuple[float, ...] = ()
    best: OperatingPoint | None = None


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Which class was taken for which, at one score threshold.

    An object goes to a detection of its own class as the evaluator matches them; what is left over on both sides is
    then matched regardless of class. So the diagonal holds the evaluator's true positives at that threshold.

    Attributes:
      classes: Names, in the order of the category ids.
      counts: [actual][predicted], one more row and column than classes: the last row is background (detections that
        match no object), the last column is missed (objects that no detection matches).
      score_threshold: Detections below are left out.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    score_threshold: float


@dataclass(frozen=True, kw_only=True)
class ClassResults:
    """Boxes, or masks, class by class.

    Attributes:
      curves: By class.
      overall: All classes pooled, under one threshold; detections of classes without objects count against it.
    """

    curves: dict[str, ClassCurve]
    overall: ClassCurve
    confusion: Confusion
