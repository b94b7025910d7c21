"""Training images from TFRecord shards to batches: decoded once where memory allows, shuffled, changed, parsed.

Model Garden's own reader decodes every image anew in every epoch, which with instance masks (a PNG per object) takes
longer than a training step of a small model.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from official.core.input_reader import match_files

from stages.core.training.sampling import repeat_images

Sample = dict[str, tf.Tensor]
MASKS = "groundtruth_instance_masks"
SOURCE_ID = "image/source_id"
READ_AHEAD = 3
"""Batches kept ready: more would only take memory."""


def build_training_dataset(
    params: Any,
    *,
    decode: Callable[[tf.Tensor], Sample],
    augment: Callable[[tf.data.Dataset], tf.data.Dataset],
    parse: Callable[[Sample], tuple[tf.Tensor, Any]],
    cached: bool,
    factors: Mapping[int, float] | None = None,
    input_context: Any = None,
) -> tf.data.Dataset:
    """An endless, shuffled dataset of training batches.

    Args:
      params: `task.train_data` of the experiment, with absolute paths.
      decode: Model Garden's decoder: serialized example to sample.
      augment: Changes the endless dataset of decoded samples.
      parse: Model Garden's parser: sample to (image, labels).
      cached: Whether decoded images stay in memory.
      factors: How often each image comes in an epoch, by image id; None: once.
      input_context: tf.distribute's, for several workers.
    """
    files = sorted(match_files(params.input_path))
    dataset = tf.data.TFRecordDataset(files)
    batch_size = params.global_batch_size
    if input_context is not None:
        dataset = dataset.shard(input_context.num_input_pipelines, input_context.input_pipeline_id)
        batch_size = input_context.get_per_replica_batch_size(batch_size)
    if cached:
        # A cached image is shared, not copied, by the shuffle buffer: it may hold them all.
        dataset = _map(dataset, lambda record: compact_masks(decode(record))).cache()
        dataset = _sample(dataset, factors, _id_of_sample, params)
        dataset = dataset.shuffle(params.shuffle_buffer_size, seed=params.seed).repeat()
    else:
        dataset = _sample(dataset, factors, _id_of_record, params)
        dataset = dataset.shuffle(params.shuffle_buffer_size, seed=params.seed).repeat()
        dataset = _map(dataset, lambda record: compact_masks(decode(record)))
    dataset = _map(augment(dataset), parse)
    dataset = dataset.batch(batch_size, drop_remainder=params.drop_remainder).prefetch(READ_AHEAD)
    options = tf.data.Options()
    options.deterministic = params.deterministic
    # Shards are given out above, by image: small data sets have fewer files than there may be workers.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)


def compact_masks(sample: Sample) -> Sample:
    """The sample with masks of uint8 [N, height, width] instead of the decoder's float32: a quarter of the memory."""
    return {**sample, MASKS: tf.cast(sample[MASKS], tf.uint8)} if MASKS in sample else sample


def decoded_size_mb(annotations: Path, *, with_masks: bool) -> float:
    """Memory of a prepared split once decoded, in units of 10^6 bytes.

    Args:
      annotations: Its COCO JSON.
      with_masks: Whether every object brings a mask of the size of its image.
    """
    tree = json.loads(annotations.read_bytes())
    pixels = {image["id"]: image["height"] * image["width"] for image in tree["images"]}
    size: int = 3 * sum(pixels.values())
    if with_masks:
        size += sum(pixels[entry["image_id"]] for entry in tree["annotations"])
    return size / 1e6


def is_cached(size_mb: float, limit_mb: float) -> bool:
    """Whether a split of this decoded size is kept in memory: within the limit, and half of what the machine has."""
    return size_mb <= min(limit_mb, memory_mb() / 2)


def memory_mb() -> float:
    """Physical memory of the machine, in units of 10^6 bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6


def describe_cache(size_mb: float, limit_mb: float, section: str) -> str:
    """A line where a cache is wanted and the split does not fit; else empty. `section` is where the limit is set."""
    if not limit_mb or is_cached(size_mb, limit_mb):
        return ""
    if size_mb > limit_mb:
        why = f"more than {section}.image_cache_mb {limit_mb:g}"
    else:
        why = f"more than half of this machine's {memory_mb():.0f} MB"
    return f"images: {size_mb:.0f} MB decoded, {why}: decoded anew in every epoch, which is slower"


def _sample(
    dataset: tf.data.Dataset,
    factors: Mapping[int, float] | None,
    image_id: Callable[[Any], tf.Tensor],
    params: Any,
) -> tf.data.Dataset:
    """Behind the cache, which holds every image once, and before the shuffling, which keeps repeated ones apart."""
    return dataset if factors is None else repeat_images(dataset, factors, image_id=image_id, seed=params.seed or 0)


def _id_of_sample(sample: Sample) -> tf.Tensor:
    return tf.strings.to_number(sample["source_id"], tf.int64)


def _id_of_record(record: tf.Tensor) -> tf.Tensor:
    features = {SOURCE_ID: tf.io.FixedLenFeature([], tf.string)}
    return tf.strings.to_number(tf.io.parse_single_example(record, features)[SOURCE_ID], tf.int64)


def _map(dataset: tf.data.Dataset, function: Callable[..., Any]) -> tf.data.Dataset:
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE)
