"""Weights of classes that occur seldom."""

import json
from collections import Counter
from pathlib import Path


def balance_classes(annotations: Path, *, num_classes: int) -> tuple[float, ...]:
    """Weight of each class: the inverse square root of its share, with a mean of 1 over the objects.

    The square root is a compromise: by the inverse itself, one object of a rare class outweighs all the others.
    Source: Mahajan et al., "Exploring the Limits of Weakly Supervised Pretraining" (ECCV 2018), there for sampling.

    Args:
      annotations: Prepared COCO JSON of the train split; category ids are 1..num_classes - 1.
      num_classes: With the background, class 0, whose weight is 1; so is that of a class without objects.
    """
    tree = json.loads(annotations.read_bytes())
    objects = Counter(entry["category_id"] for entry in tree["annotations"] if not entry.get("iscrowd"))
    raw = {category: count**-0.5 for category, count in objects.items()}
    mean = sum(raw[category] * count for category, count in objects.items()) / max(sum(objects.values()), 1)
    return tuple(raw[category] / mean if category in raw else 1.0 for category in range(num_classes))
