"""The fixed draw of images: for rows too slow for the whole split, for parity and for the report's pictures."""

from collections.abc import Collection

import numpy as np

SEED = 0
"""Not a parameter: every model and scheme, now and later, is evaluated and drawn on the same images."""


def choose_subset(image_ids: Collection[int], num: int, seed: int = SEED) -> tuple[int, ...]:
    """A seeded draw without replacement.

    Args:
      image_ids: Ids of the split, in any order.
      num: How many; all of them where there are fewer.

    Returns:
      Ids in the order of the draw: a smaller draw from the same ids is the beginning of a larger one.
    """
    ordered = np.sort(np.asarray(list(image_ids), np.int64))
    return tuple(np.random.default_rng(seed).permutation(ordered)[:num].tolist())


def choose_shown(image_ids: Collection[int], num: int, *, subset_images: int) -> tuple[int, ...]:
    """The first images of the draw, of which slow rows have outputs too: those that `report` may show.

    Args:
      num: How many; no more than `subset_images`, which is what a slow row runs on.
    """
    return choose_subset(image_ids, min(num, subset_images))
