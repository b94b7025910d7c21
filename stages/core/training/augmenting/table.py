"""The table of augmentations."""

from collections.abc import Callable
from dataclasses import dataclass

from stages.core.training.augmenting.colors import jitter_colors
from stages.core.training.augmenting.cropping import crop_randomly
from stages.core.training.augmenting.flips import flip_horizontally, flip_vertically, turn_quarters
from stages.core.training.augmenting.mixing import mix_up
from stages.core.training.augmenting.mosaic import MOSAIC_IMAGES, make_mosaic
from stages.core.training.augmenting.pasting import copy_paste
from stages.core.training.augmenting.sample import Sample


@dataclass(frozen=True, kw_only=True)
class AugmentationRow:
    """One augmentation.

    Attributes:
      function: Takes `num_samples` samples (a mosaic: one sequence of them), an int32 [2] seed and options by keyword.
      summary: One line.
      source: Where it is from; empty if it is common knowledge.
      num_samples: How many samples make one.
      needs_masks: Whether every sample must have masks.
    """

    function: Callable[..., Sample]
    summary: str
    source: str = ""
    num_samples: int = 1
    needs_masks: bool = False


AUGMENTATIONS = {
    "flip_horizontally": AugmentationRow(
        function=flip_horizontally,
        summary="left and right swapped, with probability 0.5",
    ),
    "flip_vertically": AugmentationRow(
        function=flip_vertically,
        summary="up and down swapped, with probability 0.5",
    ),
    "turn_quarters": AugmentationRow(
        function=turn_quarters,
        summary="turned by 0, 90, 180 or 270 degrees",
    ),
    "jitter_colors": AugmentationRow(
        function=jitter_colors,
        summary="brightness, contrast, saturation and hue changed",
        source="Haeberli, Matrix Operations for Image Processing (1993)",
    ),
    "crop_randomly": AugmentationRow(
        function=crop_randomly,
        summary="a random window that holds objects whole or in part",
        source="Liu et al., SSD (ECCV 2016)",
    ),
    "make_mosaic": AugmentationRow(
        function=make_mosaic,
        summary="four images as the quadrants of one",
        source="Bochkovskiy et al., YOLOv4 (2020)",
        num_samples=MOSAIC_IMAGES,
    ),
    "mix_up": AugmentationRow(
        function=mix_up,
        summary="two images blended, with the objects of both",
        source="Zhang et al., mixup (ICLR 2018); Ge et al., YOLOX (2021)",
        num_samples=2,
    ),
    "copy_paste": AugmentationRow(
        function=copy_paste,
        summary="objects of one image, cut out along their masks, on another",
        source="Ghiasi et al., Simple Copy-Paste (CVPR 2021)",
        num_samples=2,
        needs_masks=True,
    ),
}
"""Name to row; the names are the functions'."""
