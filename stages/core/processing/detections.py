"""`Detections`: what any model says of one picture, checked once when it is made."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """Objects found in one image, best score first.

    Attributes:
      boxes_xyxy: float32 [N, 4], pixels of the original image, x_max and y_max exclusive.
      scores: float32 [N], 0..1, descending.
      classes: int32 [N], category ids of labels.json (from 1).
      masks: float32 [N, h, w], probabilities 0..1 *within each box* (not pasted), or None for a model without masks.
      image_size: (height, width) of the original image in pixels.

    Raises:
      ValueError: if the arrays' shapes do not fit together.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: np.ndarray | None = None
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        num = len(self.scores)
        expected = {"boxes_xyxy": (num, 4), "scores": (num,), "classes": (num,)}
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"Detections.{name}: shape {found}, expected {shape}")
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != num):
            raise ValueError(f"Detections.masks: shape {self.masks.shape}, expected ({num}, h, w)")

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float) -> "Detections":
        """The detections whose score is at least `score`."""
        keep = self.scores >= score
        return Detections(
            boxes_xyxy=self.boxes_xyxy[keep],
            scores=self.scores[keep],
            classes=self.classes[keep],
            masks=None if self.masks is None else self.masks[keep],
            image_size=self.image_size,
        )
