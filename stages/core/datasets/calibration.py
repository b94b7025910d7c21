"""The fixed calibration list: the representative images that activation ranges are measured on."""

import random
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet


def choose_calibration(shown: Mapping[int, Sequence[int]], *, num_images: int, seed: int) -> list[int]:
    """Draws images by seed, one for each class first, and puts those that show most first.

    Images without objects come last, and only when there are not enough others: heads that see no object show no range.

    Args:
      shown: Image id to the category ids of its objects.
      num_images: Length of the list; shorter when there are fewer images.
      seed: Of the draw.

    Returns:
      Image ids, best first, so that any prefix is a sensible sample.
    """
    lots = sorted(shown)
    random.Random(seed).shuffle(lots)
    lots.sort(key=lambda image_id: not shown[image_id])
    covering = _cover_classes(lots, {image_id: set(shown[image_id]) for image_id in lots})
    first = set(covering)
    chosen = [*covering, *(image_id for image_id in lots if image_id not in first)][:num_images]
    return sorted(chosen, key=lambda image_id: (-len(set(shown[image_id])), -len(shown[image_id])))


def _cover_classes(lots: Sequence[int], classes: Mapping[int, AbstractSet[int]]) -> list[int]:
    """The first image, in drawn order, of every class that no image before shows."""
    covered: set[int] = set()
    chosen = []
    for image_id in lots:
        if classes[image_id] - covered:
            covered |= classes[image_id]
            chosen.append(image_id)
    return chosen
