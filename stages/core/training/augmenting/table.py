"""THE TABLE of augmentations, in the order in which they are applied: mixtures first, colours last.

A row is called what params.yaml calls its parameter below `augmentation`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from stages.core.training.augmenting.colors import jitter_colors
from stages.core.training.augmenting.cropping import crop_randomly
from stages.core.training.augmenting.flips import flip_horizontally, turn_quarters
from stages.core.training.augmenting.mixing import mix_up
from stages.core.training.augmenting.mosaic import MOSAIC_IMAGES, make_mosaic
from stages.core.training.augmenting.pasting import copy_paste
from stages.core.training.augmenting.patch import InputFrame
from stages.core.training.augmenting.sample import Sample

MIX_UP_ALPHA = 8.0
"""Of the Beta distribution, so that both images stay visible, as in YOLOX."""
MOST_PASTED = 10
COLOR_STRENGTHS = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.7, "hue": 0.05}
"""What `color_jitter: 1` stands for; hue is a share of the colour circle."""


@dataclass(frozen=True, kw_only=True)
class AugmentationRow:
    """One augmentation.

    Attributes:
      apply: (samples, int32 [2] seed, value of the parameter, the network's input) to one sample.
      num_samples: How many samples make one. A mixture of several ends before the training does.
      masks: True: only for detectors with masks; False: only for those without; None: for both.
      is_strength: Whether the parameter is a strength; otherwise it is how often the augmentation is applied.
    """

    apply: Callable[[Sequence[Sample], Any, float, InputFrame], Sample]
    num_samples: int = 1
    masks: bool | None = None
    is_strength: bool = False

    def suits(self, *, has_masks: bool) -> bool:
        """Whether a detector with or without masks can use it."""
        return self.masks is None or self.masks is has_masks


def _jitter(samples: Sequence[Sample], seed: Any, strength: float, frame: InputFrame) -> Sample:
    return jitter_colors(samples[0], seed, **{name: strength * value for name, value in COLOR_STRENGTHS.items()})


AUGMENTATIONS: dict[str, AugmentationRow] = {
    "mosaic": AugmentationRow(
        apply=lambda samples, seed, _, frame: make_mosaic(samples, seed, size=frame.size, fit=frame.fit),
        num_samples=MOSAIC_IMAGES,
    ),
    "copy_paste": AugmentationRow(
        apply=lambda samples, seed, _, frame: copy_paste(
            samples[0], samples[1], seed, max_objects=MOST_PASTED, fit=frame.fit
        ),
        num_samples=2,
        masks=True,
    ),
    "mix_up": AugmentationRow(
        apply=lambda samples, seed, _, frame: mix_up(samples[0], samples[1], seed, alpha=MIX_UP_ALPHA, fit=frame.fit),
        num_samples=2,
        masks=False,
    ),
    "random_crop": AugmentationRow(apply=lambda samples, seed, *_: crop_randomly(samples[0], seed)),
    # After a random turn, the flip reaches all eight orientations.
    "orientation_free": AugmentationRow(
        apply=lambda samples, seed, *_: flip_horizontally(turn_quarters(samples[0], seed), tf.random.fold_in(seed, 1))
    ),
    "horizontal_flip": AugmentationRow(apply=lambda samples, seed, *_: flip_horizontally(samples[0], seed)),
    "color_jitter": AugmentationRow(apply=_jitter, is_strength=True),
}
