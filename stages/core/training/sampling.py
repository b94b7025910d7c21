"""How often each training image is shown, where classes are to be seen alike.

Repeat-factor sampling (Gupta et al., "LVIS", CVPR 2019): an image is repeated by its rarest class, r(I) = max over its
classes c of max(1, sqrt(t / f(c))), where f(c) is the share of images that show c.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

RANDOM_RANGE = 2.0**32
"""`tf.data.Dataset.random` gives whole numbers below this."""


def repeat_factors(annotations: Path, *, threshold: float | None = None) -> dict[int, float]:
    """How often each image comes in an epoch, on average, by image id.

    Args:
      annotations: Prepared COCO JSON of the train split. What is ignored shows no class; an image without objects has
        the factor 1.
      threshold: t, 0..1: classes that fewer images show are repeated. None: the share of the most frequent class, so
        that every other class is.

    Returns:
      Factors of at least 1.
    """
    tree = json.loads(annotations.read_bytes())
    shown: dict[int, set[int]] = defaultdict(set)
    for entry in tree["annotations"]:
        if not entry.get("iscrowd"):
            shown[entry["image_id"]].add(entry["category_id"])
    num_images = len(tree["images"])
    images_with = Counter(category for classes in shown.values() for category in classes)
    shares = {category: count / num_images for category, count in images_with.items()}
    limit = max(shares.values(), default=0.0) if threshold is None else threshold
    of_class = {category: max(1.0, math.sqrt(limit / share)) for category, share in shares.items()}
    ids = [int(image["id"]) for image in tree["images"]]
    return {
        image_id: max((of_class[category] for category in shown.get(image_id, ())), default=1.0) for image_id in ids
    }


def repeat_images(
    dataset: tf.data.Dataset, factors: Mapping[int, float], *, image_id: Callable[[Any], tf.Tensor], seed: int
) -> tf.data.Dataset:
    """The dataset with every element as often as its image's factor says.

    Of a factor of 2.3, two are certain, and a third comes with a probability of 0.3, drawn anew whenever the dataset is
    gone through (stochastic rounding, as in Detectron2's `RepeatFactorTrainingSampler`).

    Args:
      dataset: One epoch.
      factors: By image id, for every image of the dataset.
      image_id: The id of an element, int64 [].
      seed: Of the draws.
    """
    ids = tf.constant(sorted(factors), tf.int64)
    ordered = tf.constant([factors[key] for key in sorted(factors)], tf.float64)

    def repeat(element: Any, number: tf.Tensor) -> tf.data.Dataset:
        factor = ordered[tf.searchsorted(ids, [image_id(element)])[0]]
        more = tf.cast(number, tf.float64) / RANDOM_RANGE < factor - tf.floor(factor)
        times = tf.cast(tf.floor(factor), tf.int64) + tf.cast(more, tf.int64)
        return tf.data.Dataset.from_tensors(element).repeat(times)

    numbers = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    return tf.data.Dataset.zip((dataset, numbers)).flat_map(repeat)
